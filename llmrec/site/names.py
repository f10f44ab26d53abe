"""What the pages' files are called, and how one page points at another."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmrec.seeds import content_hash


def slug(text: str) -> str:
    """A file name for any text, safe on every file system: "item-knn" stays, "recbole:BPR" is "recbole-bpr-0c1f2a".

    Different texts have different names: what had to be changed carries a piece of its hash.
    """
    plain = re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:80]
    return plain if plain and plain == text else f"{plain or 'x'}-{content_hash(text)[:6]}"


@dataclass(frozen=True)
class Place:
    """Where a page lies: its path from the site's root, with slashes."""

    path: str

    @property
    def root(self) -> str:
        """The way from this page to the site's root: "" or "../" or "../../"."""
        return "../" * self.path.count("/")


def board_page(key: str) -> str:
    return f"boards/{key}.html"


def pairs_page(key: str) -> str:
    return f"compare/{key}/index.html"


def pair_page(key: str, a: str, b: str) -> str:
    """Of two rows by their labels; the order is the caller's."""
    return f"compare/{key}/{slug(a)}_vs_{slug(b)}.html"


def method_page(name: str) -> str:
    return f"methods/{slug(name)}.html"


def dataset_page(name: str) -> str:
    return f"datasets/{slug(name)}.html"


def run_page(run_id: str) -> str:
    return f"runs/{run_id}.html"
