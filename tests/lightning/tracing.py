"""Writes down what Lightning calls, and folds the sequence into a text that people can read and git can compare."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning_utilities.core.rank_zero import rank_zero_only

PACKAGE = os.environ.get("LIGHTNING_PACKAGE", "pytorch_lightning")
pl = import_module(PACKAGE)

_LONGEST_CYCLE = 40


class Trace:
    """A file with one line per call, on rank zero, in whichever process that is."""

    def __init__(self, folder: Path) -> None:
        self.calls = folder / "calls.txt"
        self.metrics = folder / "metrics.txt"
        for path in (self.calls, self.metrics):
            path.touch()

    def add(self, call: str, *details: object) -> None:
        self._append(self.calls, " ".join([call, *map(str, details)]))

    def add_metrics(self, metrics: dict[str, float], step: int | None) -> None:
        for name in sorted(metrics):
            self._append(self.metrics, f"{name} {step}")

    def text(self) -> str:
        """The calls with their repetitions folded, then the steps of each metric."""
        steps: dict[str, list[str]] = {}
        for line in self.metrics.read_text().splitlines():
            name, _, step = line.rpartition(" ")
            steps.setdefault(name, []).append(step)
        axes = [f"{name}: {' '.join(found)}" for name, found in sorted(steps.items())]
        return "\n".join([*fold(self.calls.read_text().splitlines()), "", "steps of log_metrics", *axes, ""])

    @staticmethod
    def _append(path: Path, line: str) -> None:
        if rank_zero_only.rank == 0:
            with path.open("a") as file:
                file.write(line + "\n")


def fold(lines: list[str]) -> list[str]:
    """Lines in which a sequence that comes several times in a row stands once, indented under its number."""
    folded: list[str] = []
    at = 0
    while at < len(lines):
        size, count = _longest_repetition(lines, at)
        if count == 1:
            folded.append(lines[at])
        elif size == 1:
            folded.append(f"{lines[at]} ({count} times)")
        else:
            folded.append(f"{count} times:")
            folded += [f"  {line}" for line in fold(lines[at : at + size])]
        at += size * count
    return folded


def _longest_repetition(lines: list[str], at: int) -> tuple[int, int]:
    best = (1, 1)
    for size in range(1, min(_LONGEST_CYCLE, (len(lines) - at) // 2) + 1):
        cycle = lines[at : at + size]
        count = 1
        while lines[at + size * count : at + size * (count + 1)] == cycle:
            count += 1
        if count > 1 and size * count > best[0] * best[1]:
            best = (size, count)
    return best


_EVALUATION = ("start", "end", "epoch_start", "epoch_end", "batch_start", "batch_end")
_HOOKS = [
    *("setup", "teardown", "on_fit_start", "on_fit_end", "on_sanity_check_start", "on_sanity_check_end"),
    *(f"on_{stage}_{moment}" for stage in ("train", "validation", "test", "predict") for moment in _EVALUATION),
    *("on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_before_zero_grad"),
    *("on_exception", "on_save_checkpoint", "on_load_checkpoint"),
]


def _hook(name: str) -> Callable[..., None]:
    def call(self: Tracer, trainer: Any, module: Any, *args: Any, stage: str = "", **_: Any) -> None:
        error = [type(arg).__name__ for arg in args if isinstance(arg, BaseException)]
        self.trace.add(f"callback.{name}", *([str(getattr(stage, "value", stage))] if stage else error))

    return call


class Tracer(pl.Callback):  # type: ignore[misc, name-defined]
    """Writes down every hook of a callback."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    def state_dict(self) -> dict[str, Any]:
        self.trace.add("callback.state_dict")
        return {"traced": True}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.trace.add("callback.load_state_dict")


for _name in _HOOKS:
    setattr(Tracer, _name, _hook(_name))


class TracingLogger(pl.loggers.Logger):  # type: ignore[misc, name-defined]
    """Writes down what a logger is told."""

    def __init__(self, trace: Trace, folder: Path, name: str = "logger") -> None:
        super().__init__()
        self.trace = trace
        self._folder = folder
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> int:
        return 0

    @property
    def save_dir(self) -> str:
        return str(self._folder)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.trace.add(f"{self._name}.log_metrics")
        self.trace.add_metrics(metrics, step)

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        self.trace.add(f"{self._name}.log_hyperparams")

    def log_graph(self, *_: Any, **__: Any) -> None:
        self.trace.add(f"{self._name}.log_graph")

    def save(self) -> None:
        self.trace.add(f"{self._name}.save")

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        self.trace.add(f"{self._name}.after_save_checkpoint")

    def finalize(self, status: str) -> None:
        self.trace.add(f"{self._name}.finalize", status)
