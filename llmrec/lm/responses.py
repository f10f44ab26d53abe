"""What an endpoint has answered, kept: nothing is paid twice, and a paper's rows run again without a network.

A response is a small JSON file, named by the SHA-256 of what was asked: the call, the model's name and every parameter
(never the address or the key, so that whoever has the files can replay them).

    <folder>/<model>/<first two digits>/<hash>.json     {"asked": {...}, "answer": {...}}

Both are environment of a run and no part of its spec:
    LLMREC_RESPONSES   the folder; default: responses/ in llmrec's cache
    LLMREC_REPLAY=1    nothing is sent: what is not there is missing (`llmrec run --replay`)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llmrec.content import cache_folder
from llmrec.errors import UserError
from llmrec.seeds import canonical_json

FOLDER_VARIABLE = "LLMREC_RESPONSES"
REPLAY_VARIABLE = "LLMREC_REPLAY"


def responses_folder() -> Path:
    """Where responses are kept."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else cache_folder() / "responses"


def replaying() -> bool:
    """Whether only kept responses may be used."""
    return os.environ.get(REPLAY_VARIABLE, "") not in ("", "0")


class Responses:
    """A folder of responses. Processes and threads may share it: what two of them ask at once is asked once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        """The answer that is kept, or None.

        Raises:
            UserError: the file is damaged, or it holds the answer to another question.
        """
        path = self._path(asked)
        try:
            kept = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: not valid JSON ({error}). Delete the file: it is asked for again.") from None
        if not isinstance(kept, dict) or kept.get("asked") != asked or not isinstance(kept.get("answer"), dict):
            raise UserError(f"{path}: not the answer to what its name says. Delete the file: it is asked for again.")
        answer: dict[str, Any] = kept["answer"]
        return answer

    def get_or_ask(self, asked: dict[str, Any], ask: Callable[[], dict[str, Any]]) -> tuple[dict[str, Any], bool]:
        """The kept answer, else that of ``ask()``, which is kept; and whether it was asked for now. Whatever ``ask``
        raises is passed on, and nothing is kept."""
        if (kept := self.get(asked)) is not None:
            return kept, False
        from filelock import FileLock

        path = self._path(asked)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock")
        with FileLock(lock):
            try:
                if (kept := self.get(asked)) is not None:  # another run has asked meanwhile
                    return kept, False
                answer = ask()
                _write(path, json.dumps({"asked": asked, "answer": answer}, indent=1, ensure_ascii=False) + "\n")
                return answer, True
            finally:  # whoever waits for the lock finds the answer first
                lock.unlink(missing_ok=True)

    def _path(self, asked: dict[str, Any]) -> Path:
        digest = hashlib.sha256(canonical_json(asked).encode()).hexdigest()
        model = re.sub(r"[^\w.-]+", "-", str(asked.get("model", ""))).strip("-.") or "model"
        return self.folder / model / digest[:2] / f"{digest}.json"


def _write(path: Path, text: str) -> None:
    """Whole or not at all."""
    descriptor, partial = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(partial).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(partial).unlink()
        raise
