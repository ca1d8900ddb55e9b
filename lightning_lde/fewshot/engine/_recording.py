"""Work on a GPU recorded once as a CUDA graph, and played again with other numbers.

A meta-step is thousands of small kernels: launched one by one from Python they take longer to launch than to compute. A
recording is launched as a whole, and the streams in it let several tasks compute at a time.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from lightning_lde.errors import ConfigurationError

__all__ = ["Recorder", "Streams", "forked", "joined", "on_stream"]

_SEEN_BEFORE = 3
Streams = Sequence["torch.cuda.Stream | None"]


class Recorder:
    """Plays back work that comes again with tensors of the same shapes; runs any other work as it is.

    The first three times in a row some work is done as it is. The fourth time it is watched, to be sure that nothing in
    it waits for the device, and then recorded. What Python does in it (hooks, counters, choices) happens no more from
    then on; work on a model with forward hooks is therefore not recorded. A recording keeps the memory of its work
    until ``forget``.

    Args:
        tasks_at_once: Streams of a recording; each takes the memory of one task.

    Raises:
        ConfigurationError: ``tasks_at_once`` is below 1.
    """

    def __init__(self, tasks_at_once: int = 1) -> None:
        if tasks_at_once < 1:
            raise ConfigurationError(f"tasks_at_once={tasks_at_once}: expected at least 1.")
        self.tasks_at_once = tasks_at_once
        self.forget()

    def forget(self) -> None:
        """Drop the recording, and give its memory back."""
        self._recording: _Recording | None = None
        self._last: Hashable = None
        self._times = 0
        self._refused = False

    def run(
        self,
        work: Callable[[Streams, Sequence[Tensor]], list[Tensor]],
        model: nn.Module,
        tensors: Sequence[Tensor],
        settings: Hashable,
    ) -> list[Tensor]:
        """Return what ``work`` makes of tensors.

        Args:
            work: Takes streams to spread tasks over and tensors; reads else only parameters and buffers of ``model``
                and what ``settings`` names.
            model: What it runs.
            tensors: On a CUDA device to be recorded at all.
            settings: What else the outcome depends on: numbers, and addresses of tensors.
        """
        if tensors[0].device.type != "cuda" or self._refused or _has_hooks(model):
            return work((None,), tensors)
        key = _key(model, tensors, settings)
        if self._recording is not None and self._recording.key == key:
            # What comes only now and then, such as a smaller last batch, does not take its place.
            self._last = None
            return self._recording.play(tensors)
        self._times = self._times + 1 if key == self._last else 1
        self._last = key
        if self._times <= _SEEN_BEFORE:
            with _quickest_convolutions():
                return work((None,), tensors)
        self._recording = None
        try:
            with _quickest_convolutions():
                with _nothing_waits():
                    found = work((None,), tensors)
                self._recording = _Recording(work, tensors, key, self.tasks_at_once)
        except RuntimeError as error:
            self._refused = True
            said = f"steps run at the pace of Python, as this model cannot be recorded as a CUDA graph: {error}"
            warnings.warn(said, stacklevel=2)
            return work((None,), tensors)
        return found

    def __deepcopy__(self, memo: Any) -> Recorder:
        return Recorder(self.tasks_at_once)

    def __reduce__(self) -> tuple[Any, ...]:
        return Recorder, (self.tasks_at_once,)


class _Recording:
    def __init__(self, work: Callable[..., list[Tensor]], tensors: Sequence[Tensor], key: Hashable, n: int) -> None:
        self.key = key
        self._inputs = [tensor.clone() for tensor in tensors]
        self._graph = torch.cuda.CUDAGraph()
        streams = [torch.cuda.Stream(tensors[0].device) for _ in range(n)]  # type: ignore[no-untyped-call]
        torch.clear_autocast_cache()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._found = work(streams, self._inputs)
        torch.clear_autocast_cache()

    def play(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        for kept, given in zip(self._inputs, tensors, strict=True):
            kept.copy_(given)
        self._graph.replay()
        return [tensor.clone() for tensor in self._found]


def forked(streams: Streams, count: int) -> Streams:
    """As many streams as there is work for, each behind what the current one has to do so far."""
    used = streams[:count]
    for stream in used:
        if stream is not None:
            stream.wait_stream(torch.cuda.current_stream())
    return used


def joined(streams: Streams) -> None:
    """Let the current stream go on behind all of these."""
    for stream in streams:
        if stream is not None:
            torch.cuda.current_stream().wait_stream(stream)


def on_stream(stream: torch.cuda.Stream | None) -> Any:
    """A context in which kernels go to a stream, to the current one by default."""
    return nullcontext() if stream is None else torch.cuda.stream(stream)


def _key(model: nn.Module, tensors: Sequence[Tensor], settings: Hashable) -> Hashable:
    """What must be the same for a recording to hold: shapes, where weights lie, modes."""
    shapes = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors)
    weights = tuple((one.data_ptr(), one.requires_grad) for one in model.parameters())
    buffers = tuple(one.data_ptr() for one in model.buffers())
    modes = tuple(module.training for module in model.modules())
    autocast = torch.is_autocast_enabled("cuda") and torch.get_autocast_dtype("cuda")
    return shapes, weights, buffers, modes, autocast, torch.is_grad_enabled(), settings


def _has_hooks(model: nn.Module) -> bool:
    return any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@contextmanager
def _quickest_convolutions() -> Iterator[None]:
    """Let cuDNN try its programs, unless results are to be the same each time."""
    before = torch.backends.cudnn.benchmark
    exact = torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    torch.backends.cudnn.benchmark = before or not exact
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def _nothing_waits() -> Iterator[None]:
    """Make it an error to wait for the device: in a recording it would be one that spoils the generator of numbers."""
    before = torch.cuda.get_sync_debug_mode()
    _set_sync_debug_mode("error")
    try:
        yield
    finally:
        _set_sync_debug_mode(before)


def _set_sync_debug_mode(mode: int | str) -> None:
    with warnings.catch_warnings():
        # That it is a prototype.
        warnings.simplefilter("ignore")
        torch.cuda.set_sync_debug_mode(mode)
