"""Ray and Dask, where they are installed: a call goes to a worker, and whoever asked waits for its result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lightning_lde.errors import MissingDependencyError

CLUSTERS = ("ray", "dask")


@dataclass(frozen=True)
class Cluster:
    """Workers to which calls can be given.

    joblib's backend for Ray hands back results only when all are there, and that for Dask gives all up when one worker
    dies; a study wants each result as it comes, and to go on.

    Attributes:
        submit: Runs a function with arguments on a worker and returns what it returned, or raises its error.
        died: Errors that say that the worker died.
    """

    submit: Callable[..., Any]
    died: tuple[type[Exception], ...]


@contextmanager
def open_cluster(name: str, jobs: int) -> Iterator[Cluster]:
    """Join the cluster that the environment names, or start one on this machine that ends with the block.

    Args:
        name: ``"ray"``, which is told of a cluster by ``RAY_ADDRESS``, or ``"dask"``, by ``DASK_SCHEDULER_ADDRESS``.
        jobs: Workers of one thread each, where one is started.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    with {"ray": _ray, "dask": _dask}[name](jobs) as cluster:
        yield cluster


@contextmanager
def _ray(jobs: int) -> Iterator[Cluster]:
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError("the backend 'ray' needs Ray: pip install lightning-lde[ray]") from error
    is_ours = not ray.is_initialized()
    if is_ours:
        here = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": jobs, "include_dashboard": False}
        ray.init(**here, log_to_driver=False)
    try:
        remote = ray.remote(num_cpus=1, max_retries=0)(_call)
        died = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError)
        yield Cluster(lambda function, *arguments: ray.get(remote.remote(function, *arguments)), died)
    finally:
        if is_ours:
            ray.shutdown()


@contextmanager
def _dask(jobs: int) -> Iterator[Cluster]:
    try:
        import dask
        from distributed import Client, KilledWorker
    except ImportError as error:
        raise MissingDependencyError("the backend 'dask' needs Dask: pip install lightning-lde[dask]") from error
    elsewhere = dask.config.get("scheduler-address", None)
    here = {} if elsewhere else {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    # What kills its worker would by default be tried on three others.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), Client(**here) as client:
        yield Cluster(
            lambda function, *arguments: client.submit(_call, function, *arguments, pure=False).result(),
            (KilledWorker,),
        )


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)
