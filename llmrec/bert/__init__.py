"""Pair scoring with a BERT-like encoder: one sequence `history [SEP] candidate` in, one number out."""
