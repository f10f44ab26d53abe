"""Eight-bit inference on a CPU: torch's dynamic quantisation of the linear layers."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch


def in_int8(model: Any) -> Any:
    """A copy of the model on the CPU whose linear layers multiply 8-bit numbers: weights are quantised once,
    activations batch by batch, so that a score moves a little with what it is computed beside."""
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchao, its successor, is another package
        return quantize_dynamic(copy.deepcopy(model).cpu().eval(), {torch.nn.Linear: per_channel_dynamic_qconfig})
