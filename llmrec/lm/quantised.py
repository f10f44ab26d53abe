"""Weights in fewer bits, through torchao: what compression costs, and what it gains.

int8            weights and, at each call, activations in 8 bits: whole-number products, the fast way
int8-weights    weights alone in 8 bits: a quarter of the memory
int4-weights    weights alone in 4 bits, 32 of them with one scale: an eighth

The linear layers are quantised; embeddings, norms and an output layer that is tied to the embeddings stay as they are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmrec.errors import UserError, nearest

if TYPE_CHECKING:
    from torch import nn

    from llmrec.lm.loading import LanguageModel

SCHEMES = ("int8", "int8-weights", "int4-weights")
GROUP = 32  # weights that share a scale, with 4 bits


def check_scheme(scheme: str, where: str) -> None:
    """Raises UserError where there is no such scheme."""
    if scheme not in SCHEMES:
        raise UserError(f"{where}: {scheme!r}, expected one of {', '.join(SCHEMES)}.{nearest(scheme, SCHEMES)}")


def quantise_layers(model: nn.Module, scheme: str) -> int:
    """Quantise a model's linear layers in place; how many there were.

    Raises:
        UserError: torchao is not installed, or there is no such scheme.
    """
    from torch import nn

    check_scheme(scheme, "quantisation")
    try:
        from torchao.quantization import quantize_
    except ImportError:
        raise UserError("quantisation needs torchao. Install it: pip install 'llmrec[quantise]'.") from None
    group = GROUP if scheme == "int4-weights" else 1
    layers = {
        name for name, part in model.named_modules() if isinstance(part, nn.Linear) and part.in_features % group == 0
    }
    if tied := _tied(model):
        layers -= {tied}
    quantize_(model, _config(scheme), filter_fn=lambda _, name: name in layers)
    return len(layers)


def quantise(lm: LanguageModel, scheme: str) -> LanguageModel:
    """The language model with its linear layers quantised (in place), and a name that says so.

    Raises:
        UserError: as `quantise_layers`; or the model has no linear layers that could be (GPT-2's are of another class).
    """
    if not quantise_layers(lm.model, scheme):
        kind = lm.model.config.model_type
        raise UserError(f"model {lm.name!r}: a {kind} has no linear layers to quantise. Take a Llama, Qwen or SmolLM2.")
    return replace(lm, name=f"{lm.name} ({scheme})")


def _config(scheme: str) -> Any:
    import torch
    from torchao import quantization as ao
    from torchao.quantization.granularity import PerGroup

    if scheme == "int8":
        return ao.Int8DynamicActivationInt8WeightConfig()
    if scheme == "int8-weights":
        return ao.Int8WeightOnlyConfig()
    return ao.IntxWeightOnlyConfig(weight_dtype=torch.__dict__["int4"], granularity=PerGroup(GROUP))


def _tied(model: nn.Module) -> str:
    """The name of the output layer, where it is the embedding itself; ''."""
    if not getattr(getattr(model, "config", None), "tie_word_embeddings", False):
        return ""
    head = model.get_output_embeddings()  # type: ignore[operator]
    return next((name for name, part in model.named_modules() if part is head), "")
