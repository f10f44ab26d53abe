"""How answers are judged: the same users, masks, ties and metrics for every family of methods."""

from llmrec.evaluate.answers import Answers, answer
from llmrec.evaluate.measure import Measures, measure, validate
from llmrec.evaluate.metrics import per_user

__all__ = ["Answers", "Measures", "answer", "measure", "per_user", "validate"]
