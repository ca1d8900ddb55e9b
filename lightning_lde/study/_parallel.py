"""Runs calls in several processes and hands back each result as it comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Call = tuple[Callable[..., Any], Sequence[Any]]


def default_jobs() -> int:
    """Processes that this machine has cores for."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def in_parallel(calls: Mapping[str, Call], *, jobs: int) -> Iterator[tuple[str, Any]]:
    """Results by name, in the order in which they are ready.

    Each call runs with one thread of torch, so that ``jobs`` processes do not fight for the cores and
    a result does not depend on how many there are.

    Args:
        calls: Function and arguments by name; all of them picklable.
        jobs: Processes; 1 runs the calls here, one after the other.

    Yields:
        The name and what the function returned.
    """
    import joblib

    workers = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered", pre_dispatch=jobs)
    tasks = (joblib.delayed(_named)(name, function, arguments) for name, (function, arguments) in calls.items())
    yield from workers(tasks)


def _named(name: str, function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[str, Any]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return name, function(*arguments)
    finally:
        torch.set_num_threads(threads)
