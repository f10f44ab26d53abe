"""Pretrained and small causal language models as recommenders: loading, titles, search, likelihood, prompts."""
