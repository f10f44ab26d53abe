"""A pretrained encoder with one output on top: which file it is, and whether it may be loaded.

Weights are read from safetensors only and no remote code is run; the pooler and the output are new where the checkpoint
has none, and how many numbers are new is counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from llmrec.bert.depth import DEPTHS, at_depth
from llmrec.encoders import Encoder, check_tokenizer, find_encoder, first_line, positions, tokenizer_of
from llmrec.errors import UserError, nearest

if TYPE_CHECKING:
    from llmrec.context import Context


class Settings(Protocol):
    """The fields of a method that loads a classifier here."""

    encoder: str
    pretrained: bool  # False: fresh weights, to see what pretraining is worth
    layers: int  # the encoder's first layers that are kept; 0: all
    width: int  # of a fresh network; 0: the encoder's
    depth: str  # one of DEPTHS
    last: int  # layers that depth "last" trains
    rank: int  # of depth "lora"
    checkpointing: bool


@dataclass(frozen=True)
class Classifier:
    """A sequence classifier with one output, and its tokenizer."""

    model: Any  # transformers.PreTrainedModel, or peft's around it
    tokenizer: Any
    window: int  # tokens that it reads at most
    fresh: int  # numbers that did not come from the checkpoint


def load_classifier(settings: Settings, ctx: Context) -> Classifier:
    """The classifier as its training begins, on the run's device; new weights come from the stream "initialisation".

    Raises:
        UserError: no such encoder here, pickled weights, code of its own, another kind of model, or a tokenizer that
            does not fit.
        Skip: depth "lora" without the package peft.
    """
    if settings.depth not in DEPTHS:
        hint = nearest(str(settings.depth), DEPTHS)
        raise UserError(f"depth = {settings.depth!r}, expected one of {', '.join(DEPTHS)}.{hint}")
    found = find_encoder(settings.encoder)
    ctx.models[settings.encoder] = found.revision if settings.pretrained else f"{found.revision} (tokenizer alone)"
    tokenizer = tokenizer_of(found)
    torch.manual_seed(ctx.seed_for("initialisation"))
    model, fresh = _pretrained(found, settings) if settings.pretrained else _fresh(found, settings)
    check_tokenizer(found, tokenizer, model)
    window = min(int(tokenizer.model_max_length), positions(model.config))
    if settings.checkpointing:
        getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)()  # named so from 6 on
    model = at_depth(model, settings.depth, settings.last, settings.rank)
    return Classifier(model.to(ctx.device).eval(), tokenizer, window, fresh)


def _configured(found: Encoder, settings: Settings) -> Any:
    from transformers import AutoConfig

    try:
        config: Any = AutoConfig.from_pretrained(found.folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"encoder {found.name!r}: {found.folder}/config.json: {first_line(error)}") from None
    config.num_labels = 1
    if settings.layers:
        if not 1 <= settings.layers <= config.num_hidden_layers:
            raise UserError(
                f"layers = {settings.layers}: the encoder {found.name!r} has {config.num_hidden_layers}; 0 takes all."
            )
        config.num_hidden_layers = settings.layers
    return config


def _pretrained(found: Encoder, settings: Settings) -> tuple[Any, int]:
    """The model with the checkpoint's weights, and how many numbers the checkpoint did not hold."""
    from transformers import AutoModelForSequenceClassification

    if settings.width:
        raise UserError(f"width = {settings.width}: the width of a pretrained encoder is its own; leave width at 0.")
    try:
        with quietly():
            model, told = AutoModelForSequenceClassification.from_pretrained(
                found.folder, config=_configured(found, settings), use_safetensors=True, trust_remote_code=False,
                dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True,
            )  # fmt: skip
    except ValueError as error:
        raise UserError(
            f"encoder {found.name!r}: it cannot be made a classifier of sequences ({first_line(error)}). Choose an "
            "encoder like BERT, RoBERTa, DistilBERT or ELECTRA."
        ) from None
    new = {name for name, *_ in map(_as_tuple, [*told["missing_keys"], *told["mismatched_keys"]])}
    inner = model.base_model_prefix
    lacking = sorted(name for name in new if name.startswith(f"{inner}.") and ".pooler." not in name)
    if lacking:
        raise UserError(
            f"encoder {found.name!r}: its weights lack {len(lacking)} tensors of the encoder itself ({lacking[0]}, "
            "...): config.json and *.safetensors do not belong together."
        )
    return model, sum(p.numel() for name, p in model.named_parameters() if name in new)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without transformers' table of tensors that the checkpoint lacks: they are counted, and wrong ones refused."""
    from transformers.utils import logging as told

    logging: Any = told  # without types
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _fresh(found: Encoder, settings: Settings) -> tuple[Any, int]:
    """A network of the encoder's kind with random weights, narrower if ``width`` says so."""
    from transformers import AutoModelForSequenceClassification

    config = _configured(found, settings)
    if settings.width:
        per_head = max(1, config.hidden_size // config.num_attention_heads)
        config.num_attention_heads = max(1, settings.width // per_head)
        if settings.width % config.num_attention_heads:
            raise UserError(f"width = {settings.width}: expected a multiple of {per_head}, the width of one head.")
        config.intermediate_size = 4 * settings.width
        config.initializer_range *= (config.hidden_size / settings.width) ** 0.5  # as loud a sum over fewer numbers
        config.hidden_size = settings.width
        if getattr(config, "embedding_size", None):  # ELECTRA, ALBERT
            config.embedding_size = settings.width
    kind: Any = AutoModelForSequenceClassification
    model = kind.from_config(config)
    return model, sum(p.numel() for p in model.parameters())


def _as_tuple(key: Any) -> tuple[Any, ...]:
    return tuple(key) if isinstance(key, tuple | list) else (key,)
