"""llmrec: when does a language model recommend better than collaborative filtering, and at what cost?"""
