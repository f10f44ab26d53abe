"""What the generating recommenders share: a small GPT, item ids, the catalogue as a trie, constrained search."""
