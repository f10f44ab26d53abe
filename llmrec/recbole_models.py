"""RecBole's models by name: of which kind each is and which data it reads, from RecBole's files, none of them imported.

Two kinds are taken here. General models read (user, item) pairs, some with the rating; sequential ones read histories
in order. Context-aware and knowledge-aware models and the adapters to boosted trees are out of scope: they want
features of every kind, or a graph that ties the whole catalogue together, and predict clicks on pairs.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from llmrec.errors import UserError, nearest
from llmrec.recbole_mend import provide

KINDS = ("general", "sequential")
"""The kinds of models that are taken."""

OTHER_KINDS = {
    "context_aware": "context-aware model: it predicts clicks from features of users, items and context",
    "knowledge_aware": "knowledge-aware model: it learns from a whole knowledge graph",
    "exlib": "model of another library of boosted trees: it predicts clicks from features",
}

GRAPH_MODELS = ("GRU4RecKG", "KSR")
"""Models that read vectors of a knowledge graph's entities and relations."""

STAGES = {"RaCT": ("actor_pretrain", "critic_pretrain", "finetune"), "S3Rec": ("pretrain", "finetune")}
"""Models that RecBole trains in stages, each from the checkpoint of the one before."""


@dataclass(frozen=True)
class Model:
    """A model of RecBole. ``reads``: the data that it needs, in words."""

    name: str
    kind: str  # general, sequential, context_aware, knowledge_aware, exlib
    reads: str


def recbole_folder() -> Path:
    """Where RecBole lies, installed or unpacked; it is not imported.

    Raises:
        UserError: it cannot be had.
    """
    provide()
    found = importlib.util.find_spec("recbole")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent


@cache
def all_models() -> dict[str, Model]:
    """Every model that RecBole ships, by name, in RecBole's order within a kind."""
    folder = recbole_folder()
    found = {}
    for kind in (*KINDS, *OTHER_KINDS):
        tree = ast.parse((folder / "model" / f"{kind}_recommender" / "__init__.py").read_text("utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    found[alias.name] = Model(alias.name, kind, _reads(alias.name, kind))
    return found


def known_models() -> dict[str, Model]:
    """The general and sequential models, by name."""
    return {name: model for name, model in all_models().items() if model.kind in KINDS}


def check_name(name: str) -> None:
    """Whether a general or sequential model has this name.

    Raises:
        UserError: none has; the nearest one, or why a model of another kind is out of scope.
    """
    found = all_models().get(name)
    if found is None:
        known = known_models()
        close = {key.lower(): key for key in known}.get(name.lower())
        hint = f" Did you mean {close!r}?" if close else nearest(name, known)
        raise UserError(f"recbole:{name}: RecBole has no such model.{hint} All of them: llmrec recbole list")
    if found.kind not in KINDS:
        raise UserError(
            f"recbole:{name} is a {OTHER_KINDS[found.kind]}, and is out of scope: only RecBole's general and "
            "sequential models are taken. They stand in: llmrec recbole list"
        )


def settings_file(name: str) -> dict[str, Any]:
    """One of RecBole's files of default settings, e.g. "model/BPR.yaml"; empty where it has none."""
    import yaml  # type: ignore[import-untyped]

    path = recbole_folder() / "properties" / name
    return yaml.load(path.read_text("utf-8"), yaml.FullLoader) or {} if path.exists() else {}


def need_no(what: str) -> str:
    """ "Models that do without: BERT4Rec, Caser, ..." for the words that stand in ``Model.reads``."""
    free = [m.name for m in known_models().values() if m.kind == "sequential" and what not in m.reads]
    return f"Sequential models that do without: {', '.join(sorted(free)[:6])} and {len(free) - 6} more."


def _reads(name: str, kind: str) -> str:
    if kind not in KINDS:
        return "features"
    base = "pairs" if kind == "general" else "histories"
    if name in GRAPH_MODELS:
        return f"{base}, knowledge graph"
    own = settings_file(f"model/{name}.yaml")
    return f"{base}, item categories" if own.get("selected_features") or own.get("item_attribute") else base
