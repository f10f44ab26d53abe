"""The method file that `llmrec new` writes: small, real, and passing `llmrec check` as it is. README shows it whole."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from llmrec.errors import UserError

TEXT = '''\
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from llmrec.method import tune


@dataclass
class {cls}:
    """Who took this also took that: shrunk cosine similarity, summed over the items of the user's history."""

    family: ClassVar[str] = "collaborative"
    seeded: ClassVar[bool] = False  # no random numbers: one run stands for all seeds
    shrink: float = tune(10.0, low=0.0, high=500.0)

    def fit(self, split, ctx):
        together = (split.fit.matrix().T @ split.fit.matrix()).toarray()  # [n_items, n_items] users who took both
        norm = np.sqrt(together.diagonal())
        self.similarity = together / (np.outer(norm, norm) + self.shrink + 1e-9)

    def score(self, users):  # users.histories holds what is known of each; seen items are masked by the harness
        return users.matrix() @ self.similarity  # [users, n_items], higher is better
'''


def method_name(name: str) -> str:
    """The file stem of a method's name: `my-method` lies in my_method.py.

    Raises:
        UserError: the name makes no Python module.
    """
    stem = name.removesuffix(".py").replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", stem) or keyword.iskeyword(stem):
        raise UserError(f"{name!r} is no method name: use small letters, digits and dashes, e.g. my-method.")
    return stem


def write(name: str, folder: Path) -> Path:
    """Write the template as a new method file into ``folder`` (made if it is missing) and return its path.

    Raises:
        UserError: the file is there already, the name is unfit, or the folder cannot be written.
    """
    stem = method_name(name)
    path = folder / f"{stem}.py"
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TEXT.format(cls="".join(word.capitalize() for word in stem.split("_"))))
    except FileExistsError as error:
        raise UserError(f"{error.filename} is there already. Choose another name, or delete it first.") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}). Choose a folder with --methods DIR.") from None
    return path
