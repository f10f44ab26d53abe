"""The embeddings that a suite's runs read: those of the item texts, which diversity is measured with, and those that
methods ask an encoder for. Made here if need be, so that no weights are needed where the runs are done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmrec.discover import MethodFile
from llmrec.packing.archive import Member
from llmrec.packing.manifest import PackedEncoder
from llmrec.suite import Planned

if TYPE_CHECKING:
    from llmrec.encoders import Encoder
    from llmrec.types import Floats, Int32

FOLDER, TOKENIZERS = "embeddings", "encoders"


@dataclass
class Features:
    """What was gathered. ``absent``: files that a dry run would have to make first."""

    members: list[Member] = field(default_factory=list)
    encoders: dict[str, PackedEncoder] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)


def gather(planned: Sequence[Planned], make: bool) -> Features:
    """The embeddings that the runs read, each once; computed where they are missing if ``make``.

    Raises:
        UserError: an encoder that is not here.
    """
    from llmrec.encode import embed_texts, embeddings_file
    from llmrec.encoders import find_encoder

    found = Features()
    for encoder, texts in _wanted(planned, make):
        if not any(text.strip() for text in texts):
            continue
        path = embeddings_file(texts, encoder)
        member = f"{FOLDER}/{path.name}"
        if any(known.path == member for known in found.members):
            continue
        if make and not path.exists():
            embed_texts(texts, encoder)
        if path.exists():
            found.members.append(Member(member, "features", path))
        else:
            found.absent.append(f"{len(set(texts))} texts by {encoder}")
        if encoder not in found.encoders:
            found.encoders[encoder] = _encoder(find_encoder(encoder), found.members)
    return found


def _encoder(encoder: Encoder, members: list[Member]) -> PackedEncoder:
    """Its revision, and its tokenizer: runs count the words that it does not know."""
    tokenizer = encoder.folder / "tokenizer.json"
    if not tokenizer.exists():
        return PackedEncoder(revision=encoder.revision)
    member = f"{TOKENIZERS}/{encoder.revision.replace(':', '-')}/tokenizer.json"
    members.append(Member(member, "features", tokenizer))
    return PackedEncoder(revision=encoder.revision, tokenizer=member)


def _wanted(planned: Iterable[Planned], make: bool) -> Iterator[tuple[str, Sequence[str]]]:
    """(encoder, texts) of every embedding that a run may read."""
    from llmrec.data import cached, load
    from llmrec.encoders import DEFAULT
    from llmrec.prepare import can_embed, measures_diversity

    loaded: dict[str, Any] = {}
    asked: set[tuple[str, str, str]] = set()
    for one in planned:
        spec = one.spec
        if spec.dataset not in loaded:
            loaded[spec.dataset] = load(spec.dataset) if make else cached(spec.dataset)
        if (dataset := loaded[spec.dataset]) is None:
            continue
        if measures_diversity(spec.task) and can_embed(dataset.items):
            yield DEFAULT, dataset.items.texts
        for encoder in _encoders_of(one.file, spec.params):
            key = (spec.dataset, spec.protocol.model_dump_json(), encoder)
            if key not in asked:
                asked.add(key)
                for texts in _texts(dataset, one):
                    yield encoder, texts


def _encoders_of(file: MethodFile, params: dict[str, Any]) -> Iterator[str]:
    """The encoders that a method and its parts ask for embeddings."""
    if encoder := _encoder_of(file, params):
        yield encoder
    named = [params.get(key, parameter.default) for key, parameter in file.params.items()]
    specs = [value for value in named if isinstance(value, dict) and isinstance(value.get("method"), str)]
    for part, spec in zip(file.parts, specs, strict=True):  # in the order that llmrec.discover.with_parts finds them
        yield from _encoders_of(part, spec.get("params") or {})


def _encoder_of(file: MethodFile, params: dict[str, Any]) -> str | None:
    """The encoder that a method asks for embeddings, by its parameter ``encoder``; None if it asks for none."""
    from llmrec.encoders import DEFAULT

    if "_embeddings(" not in file.path.read_text("utf-8"):  # Context.item_embeddings, Context.request_embeddings
        return None
    default = file.params["encoder"].default if "encoder" in file.params else DEFAULT
    return str(params.get("encoder", default))


def _texts(dataset: Any, one: Planned) -> Iterator[Sequence[str]]:
    """The sets of texts that a method may want embedded: all items, those that can be the answer, the requests in the
    batches that they come in. A set is one file of the cache, so the batches must be the task's own."""
    from llmrec.split import make_split
    from llmrec.tasks import implementation

    spec = one.spec
    split, items = make_split(dataset, spec.protocol, spec.task)
    yield items.texts
    if not split.candidates.all():
        yield [text for text, may in zip(items.texts, split.candidates, strict=True) if may]
    if spec.task == "request":
        listener = _Listener()
        for part in ("valid", "test"):
            implementation(spec.task).answer(listener, split, part)
        yield from listener.heard


class _Listener:
    """A method that finds nothing and remembers what it was asked."""

    def __init__(self) -> None:
        self.heard: list[list[str]] = []

    def search(self, texts: list[str], k: int) -> tuple[Int32, Floats]:
        import numpy as np

        self.heard.append(texts)
        return np.full((len(texts), k), -1, np.int32), np.full((len(texts), k), -np.inf, np.float32)
