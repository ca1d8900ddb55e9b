"""Calls beside each other: every backend gives the same, and a process that dies costs its own call alone."""

from __future__ import annotations

import importlib.util
import operator
import os
import sys
import time
from pathlib import Path

import pytest
import torch

from lightning_lde.errors import ConfigurationError, MissingDependencyError
from lightning_lde.study import BACKENDS
from lightning_lde.study._parallel import Lost, in_parallel

NEEDS = {"ray": "ray", "dask": "distributed"}


def backends() -> list[object]:
    missing = {name for name, module in NEEDS.items() if importlib.util.find_spec(module) is None}
    marks = {name: [pytest.mark.skipif(name in missing, reason=f"{name} is not installed")] for name in NEEDS}
    return [pytest.param(name, marks=marks.get(name, [])) for name in BACKENDS]


# Workers cannot import a module of the tests, so they call what comes with Python and torch.


@pytest.mark.parametrize("backend", backends())
def test_every_call_is_answered_with_one_thread_of_torch(backend: str) -> None:
    calls = {str(number): (operator.pow, (number, 2)) for number in range(4)}
    found = dict(in_parallel({**calls, "threads": (torch.get_num_threads, ())}, jobs=2, backend=backend))
    assert found == {"0": 0, "1": 1, "2": 4, "3": 9, "threads": 1}


@pytest.mark.parametrize("backend", backends())
@pytest.mark.parametrize("jobs", [1, 2])
def test_no_call_is_no_work(backend: str, jobs: int) -> None:
    assert list(in_parallel({}, jobs=jobs, backend=backend)) == []


def test_an_error_of_a_call_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_parallel({"a": (divmod, (1, 0))}, jobs=2, backend="threading"))


@pytest.mark.slow
@pytest.mark.parametrize("backend", [one for one in backends() if "threading" not in str(one)])
def test_a_process_that_dies_costs_its_own_call_alone(backend: str) -> None:
    calls = {"before": (operator.pow, (1, 2)), "killed": (os._exit, (3,)), "beside": (time.sleep, (1.0,))}
    calls |= {str(number): (operator.pow, (number, 2)) for number in range(3, 6)}
    found = dict(in_parallel(calls, jobs=2, backend=backend))
    lost = found.pop("killed")
    assert isinstance(lost, Lost)
    assert lost.reason
    assert found == {"before": 1, "beside": None, "3": 9, "4": 16, "5": 25}


def test_an_unknown_backend_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'spark': choose from loky, threading, ray, dask"):
        list(in_parallel({}, jobs=1, backend="spark"))


@pytest.mark.parametrize("backend", NEEDS)
def test_a_backend_that_is_not_installed_names_its_extra(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A module of that name that cannot be imported comes first, installed or not.
    for module in ("ray", "dask", "distributed"):
        monkeypatch.delitem(sys.modules, module, raising=False)
        (tmp_path / f"{module}.py").write_text("raise ImportError('away')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=rf"lightning-lde\[{backend}\]"):
        list(in_parallel({"a": (operator.pow, (1, 2))}, jobs=1, backend=backend))
