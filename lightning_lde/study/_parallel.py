"""Runs calls beside each other, in processes, threads or on a cluster, and hands back each result as it comes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lightning_lde.errors import ConfigurationError
from lightning_lde.study._clusters import CLUSTERS, open_cluster

BACKENDS = ("loky", "threading", *CLUSTERS)

Call = tuple[Callable[..., Any], Sequence[Any]]


@dataclass(frozen=True)
class Lost:
    """Stands where a result would, if the process that worked on it died.

    Attributes:
        reason: How it died, as far as is known.
    """

    reason: str


def default_jobs() -> int:
    """Processes that this machine has cores for."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


def check_backend(backend: str) -> None:
    """Refuse a word that is no backend.

    Raises:
        ConfigurationError: If it is none of ``BACKENDS``.
    """
    if backend not in BACKENDS:
        raise ConfigurationError(f"backend is {backend!r}: choose from {', '.join(BACKENDS)}")


def in_parallel(calls: Mapping[str, Call], *, jobs: int, backend: str = "loky") -> Iterator[tuple[str, Any]]:
    """Results by name, in the order in which they are ready.

    Each call runs with one thread of torch, so that ``jobs`` processes do not fight for the cores and
    a result does not depend on how many there are.

    Args:
        calls: Function and arguments by name; all of them picklable, except for threads.
        jobs: Calls at a time; 1 with ``"loky"`` runs them here, one after the other.
        backend: ``"loky"`` for processes, ``"threading"``, or ``"ray"`` or ``"dask"`` where they are installed.

    Yields:
        The name and what the function returned, or ``Lost`` where its process died, twice with ``"loky"``.

    Raises:
        ConfigurationError: If there is no such backend.
        MissingDependencyError: If it is not installed.
    """
    check_backend(backend)
    if backend == "threading":
        with one_thread():
            yield from _in_threads(calls, jobs, _apply)
    elif backend in CLUSTERS:
        with open_cluster(backend, jobs) as cluster:

            def submit(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
                try:
                    return cluster.submit(_alone_on_its_core, function, arguments)
                except cluster.died as error:
                    return Lost(f"{type(error).__name__}: {error}")

            yield from _in_threads(calls, jobs, submit)
    else:
        yield from _in_processes(calls, jobs)


def _in_threads(calls: Mapping[str, Call], jobs: int, run: Callable[..., Any]) -> Iterator[tuple[str, Any]]:
    """Threads of this process: they compute, or each waits for what a cluster computes."""

    def named(name: str, call: Call) -> tuple[str, Any]:
        return name, run(*call)

    yield from _pool(jobs, "threading")(_delayed(named, name, call) for name, call in calls.items())


def _in_processes(calls: Mapping[str, Call], jobs: int) -> Iterator[tuple[str, Any]]:
    left = dict(calls)
    while left:
        started: list[str] = []

        def tasks(todo: Mapping[str, Call], started: list[str]) -> Iterator[Any]:
            for name, call in todo.items():
                started.append(name)
                yield _delayed(_named, name, call)

        try:
            for name, result in _pool(jobs, "loky")(tasks(dict(left), started)):
                del left[name]
                yield name, result
        except BrokenExecutor:
            # joblib gives all up when one worker dies, and does not say on which call: each that was at work is
            # tried again in a process of its own.
            suspects = [name for name in started if name in left]
            if not suspects:
                raise
            for name in suspects:
                yield _in_a_process_of_its_own(name, left.pop(name))


def _in_a_process_of_its_own(name: str, call: Call) -> tuple[str, Any]:
    try:
        # With n_jobs=1 joblib would call it here.
        ((_, result),) = _pool(2, "loky")([_delayed(_named, name, call)])
    except BrokenExecutor as error:
        return name, Lost(str(error))
    return name, result


def _pool(jobs: int, backend: str) -> Any:
    import joblib

    return joblib.Parallel(n_jobs=jobs, backend=backend, return_as="generator_unordered", pre_dispatch=jobs)


def _delayed(function: Callable[..., Any], *arguments: Any) -> Any:
    import joblib

    return joblib.delayed(function)(*arguments)


def _named(name: str, call: Call) -> tuple[str, Any]:
    return name, _alone_on_its_core(*call)


def _apply(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    return function(*arguments)


def _alone_on_its_core(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    with one_thread():
        return function(*arguments)


@contextmanager
def one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
