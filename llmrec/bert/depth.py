"""How deep an encoder is fine-tuned."""

from __future__ import annotations

from typing import Any

from torch import nn

from llmrec.errors import Skip, UserError

DEPTHS = ("frozen", "last", "lora", "full")
"""What is trained beside the new output: nothing, the last n layers, low-rank additions (Hu et al. 2021), or all."""


def at_depth(model: Any, depth: str, last: int, rank: int) -> Any:
    """The model with what is not to be trained held fast.

    Args:
        depth: one of DEPTHS.
        last: layers that "last" trains, the highest ones.
        rank: of the additions of "lora".

    Raises:
        UserError: fewer layers than ``last``, or an attention of unknown names. Skip: "lora" without the package peft.
    """
    if depth == "full":
        return model
    if depth == "lora":
        return _with_lora(model, rank)
    for parameter in model.base_model.parameters():
        parameter.requires_grad_(False)
    stack = layers_of(model)
    if depth == "last":
        if not 1 <= last <= len(stack):
            raise UserError(f"last = {last}: the encoder has {len(stack)} layers.")
        for parameter in nn.ModuleList(stack[-last:]).parameters():
            parameter.requires_grad_(True)
    pooler = getattr(model.base_model, "pooler", None)
    if pooler is not None:
        for parameter in pooler.parameters():
            parameter.requires_grad_(True)
    return model


def _with_lora(model: Any, rank: int) -> Any:
    """Low-rank additions to the attention's queries and values, as in the paper's own experiments; the output and the
    pooler are trained whole."""
    try:
        from peft import LoraConfig, TaskType, get_peft_model
    except ModuleNotFoundError:
        raise Skip("depth = 'lora' needs the package peft: pip install peft") from None
    names = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    targets = sorted(names & {"query", "value", "q_lin", "v_lin", "q_proj", "v_proj"})
    if not targets:
        raise UserError("depth = 'lora': this encoder's attention has no query and value of a known name.")
    whole = sorted(names & {"classifier", "pre_classifier"}) + (["pooler"] if _has_pooler(model) else [])
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS, r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules=targets,
        modules_to_save=whole,
    )  # fmt: skip
    return get_peft_model(model, config)


def _has_pooler(model: Any) -> bool:
    return getattr(model.base_model, "pooler", None) is not None


def layers_of(model: Any) -> list[nn.Module]:
    """The encoder's layers, the lowest first: the longest list of modules in it."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return list(sorted(lists, key=len)[-1]) if lists else []


def trained(model: nn.Module) -> int:
    """Numbers that training may change."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
