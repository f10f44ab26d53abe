"""Pretrained models on the Hugging Face hub: the local cache first, then the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llmrec.errors import UserError

WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")
"""Files that may come here: no pickles, no code."""


def snapshot(repository: str, revision: str, also: Sequence[str] = ()) -> Path:
    """The folder of a model's snapshot, which is named by its commit. ``revision``: a branch, tag or commit; "": the
    newest. ``also``: further patterns of files.

    Raises:
        UserError: it is neither in the cache nor within reach, or has no safetensors; the message is the reason alone.
    """
    from huggingface_hub import snapshot_download

    reason = ""
    for offline in (True, False):
        try:
            folder = Path(
                snapshot_download(
                    repository,
                    revision=revision or None,
                    allow_patterns=[*WANTED, *also],
                    local_files_only=offline,
                )
            )
        except (OSError, ValueError) as error:  # not cached; unknown; no network; not a valid name
            reason = str(error).splitlines()[0]
            continue
        if any(folder.glob("*.safetensors")):
            return folder
        reason = "it has no *.safetensors weights"
    raise UserError(reason)
