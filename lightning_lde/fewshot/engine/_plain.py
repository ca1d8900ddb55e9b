"""Whether derivatives that are written out may stand for torch's own."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["is_plain"]


def is_plain(images: Tensor) -> bool:
    """Whether nothing but autograd is at work, in full precision, on a CPU or a CUDA device.

    Autocast, ``torch.compile`` and the transforms of ``torch.func`` know nothing of derivatives that are written out.
    """
    return (
        images.device.type in ("cpu", "cuda")
        and images.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled(images.device.type)
        and not torch.compiler.is_compiling()
        and not _is_transformed()
    )


def _is_transformed() -> bool:
    peek = getattr(torch._C._functorch, "peek_interpreter_stack", None)
    return peek is not None and peek() is not None
