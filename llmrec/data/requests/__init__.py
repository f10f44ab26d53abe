"""Requests in words, made by rule from what items are labelled with: genres, categories, users' tags.

The rule that a card states (`RequestRule`) and the code and word tables of this package make them; `fingerprint` names
both. Requests are a part of the dataset that they are made of, and of its fingerprint.
"""

from llmrec.data.requests.make import fingerprint, make_requests, readable
from llmrec.data.requests.rule import RequestRule

__all__ = ["RequestRule", "fingerprint", "make_requests", "readable"]
