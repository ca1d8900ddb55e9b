"""Whether a network can be adapted: run with other parameters, and differentiated by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from lightning_lde.errors import ConfigurationError, DataError

__all__ = ["check_adaptable", "check_shapes", "kept_random_state"]


def check_adaptable(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    adapted: Iterable[str],
    higher_order: bool,
    may_write: bool = False,
) -> None:
    """Refuse a network whose adaptation would not be what it seems, found by two passes on copies of its state.

    Neither the network nor the random state changes.

    Args:
        network: Maps images to logits.
        images: Support images of a task, (ways * shots, ...).
        labels: Support labels, (ways * shots,).
        adapted: Names of the parameters that a task changes.
        higher_order: Whether second derivatives will be taken.
        may_write: Whether forward may change buffers in place; evaluation gives it copies.

    Raises:
        DataError: The images do not fit the network.
        ConfigurationError: Forward writes parameters or buffers, does not use a parameter that should be adapted, or
            has no second derivative.
    """
    names = list(adapted)
    _check_ties(network, names)
    with kept_random_state(images), torch.enable_grad():
        _pass(network, images, labels, may_write=may_write)
        # What the first pass left in a cache has nothing to do with the parameters of the second.
        loss, state = _pass(network, images, labels, may_write=may_write)
        _check_derivatives(network, loss, {name: state[name] for name in names}, higher_order=higher_order)


def check_shapes(network: nn.Module, images: Tensor) -> None:
    """Refuse images that do not fit a network; it and the random state stay as they are.

    Raises:
        DataError: Forward fails on them.
    """
    with kept_random_state(images), torch.no_grad():
        _logits(network, _copies(network), images)


@contextmanager
def kept_random_state(images: Tensor) -> Iterator[None]:
    """Restore the random state of the CPU and of the images' device afterwards."""
    devices = [images.device] if images.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        yield


def _pass(network: nn.Module, images: Tensor, labels: Tensor, *, may_write: bool) -> tuple[Tensor, dict[str, Tensor]]:
    state = _copies(network)
    after, versions = dict(state), {name: value._version for name, value in state.items()}
    loss = F.cross_entropy(_logits(network, after, images), labels)
    originals = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    for name, value in state.items():
        is_buffer = not isinstance(originals[name], nn.Parameter)
        # Kernels such as that of batch norm write without counting it as a new version.
        written = value._version != versions[name] or not _same(value, originals[name])
        if after[name] is not value or (written and not (may_write and is_buffer)):
            raise ConfigurationError(_writes(network, name, kind="buffer" if is_buffer else "parameter"))
    return loss, state


def _copies(network: nn.Module) -> dict[str, Tensor]:
    parameters = {
        name: value.detach().clone().requires_grad_(value.requires_grad) for name, value in network.named_parameters()
    }
    return {**parameters, **{name: value.detach().clone() for name, value in network.named_buffers()}}


def _same(one: Tensor, other: Tensor) -> bool:
    return bool(((one == other) | (one != one)).all())


def _logits(network: nn.Module, state: dict[str, Tensor], images: Tensor) -> Tensor:
    try:
        logits: Tensor = functional_call(network, state, (images,))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        backbone = getattr(network, "backbone", network)
        raise DataError(
            f"{type(backbone).__name__} with the settings {getattr(backbone, 'settings', {})} cannot take images of "
            f"shape {tuple(images.shape[1:])}: {error}. Give images that fit, such as dataset.prepared(size=..., "
            "channels=...), or build the backbone for these; its feature_dim must be the length of what comes out."
        ) from error
    return logits


def _check_ties(network: nn.Module, adapted: list[str]) -> None:
    first = {id(value): name for name, value in network.named_parameters()}
    parts = {name.partition(".")[0] for name in adapted}
    for name, value in network.named_parameters(remove_duplicate=False):
        other = first[id(value)]
        if value.requires_grad and (name.partition(".")[0] in parts) != (other.partition(".")[0] in parts):
            raise ConfigurationError(
                f"{name} and {other} are one tensor, but only one of them is to be adapted: untie them, or adapt all "
                "parameters (adapts='all')."
            )


def _check_derivatives(network: nn.Module, loss: Tensor, adapted: dict[str, Tensor], *, higher_order: bool) -> None:
    try:
        slopes = torch.autograd.grad(loss, list(adapted.values()), create_graph=higher_order, allow_unused=True)
        for name, slope in zip(adapted, slopes, strict=True):
            if slope is None:
                raise ConfigurationError(_unused(network, name))
        total = torch.stack([slope.square().sum() for slope in slopes]).sum()
        if higher_order and total.requires_grad:
            # Not autograd.grad: it would pass by functions that may be differentiated only once, without a word.
            total.backward()  # type: ignore[no-untyped-call]
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise ConfigurationError(
            f"the network cannot be differentiated as {'higher' if higher_order else 'first'} order needs it: {error}. "
            "Use first_order=True, or layers that have second derivatives; a compiled backbone has none."
        ) from error


def _owner(network: nn.Module, name: str) -> str:
    place = name.rpartition(".")[0]
    return f"{place} ({type(network.get_submodule(place)).__name__})"


def _writes(network: nn.Module, name: str, *, kind: str) -> str:
    return (
        f"{_owner(network, name)} writes its {kind} {name.rpartition('.')[2]} in forward: each inner step of each task "
        "would, and adaptation cannot follow it. Use layers that keep no state in training: norm_statistics='batch' or "
        "'group' in our backbones, BatchNorm with track_running_stats=False or in eval mode, no spectral norm."
    )


def _unused(network: nn.Module, name: str) -> str:
    return (
        f"the loss does not depend on {name} of {_owner(network, name)} when the network runs with other parameters: "
        "forward ignores it, or uses a copy that was computed before. Compute what derives from parameters in forward, "
        "without parametrize.cached() or caches of your own, and freeze (requires_grad_(False)) or remove what is not "
        "used."
    )
