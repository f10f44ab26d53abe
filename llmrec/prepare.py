"""Before the first run on a dataset: ``python -P -m llmrec.prepare DATASET`` fetches and parses it once for all runs
and embeds its item texts, so that runs that need no torch can measure the diversity of their lists without it."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmrec.types import Items


def can_embed(items: Items) -> bool:
    """Whether the items have texts, and the encoder that needs no network is installed."""
    from llmrec.encode import PACKAGE

    installed = importlib.util.find_spec(PACKAGE.replace("-", "_")) and importlib.util.find_spec("safetensors")
    return bool(installed) and any(text.strip() for text in items.texts)


def main() -> int:
    """Prepare one dataset; what is in the caches already is left alone."""
    from llmrec.data import load
    from llmrec.errors import UserError

    try:
        dataset = load(sys.argv[1])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if can_embed(dataset.items):
        from llmrec.encode import cached_embeddings, embed_texts

        try:
            if cached_embeddings(dataset.items.texts) is None:
                embed_texts(dataset.items.texts)
        except UserError as error:
            print(f"no diversity over item texts: {error}", file=sys.stderr)
            return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
