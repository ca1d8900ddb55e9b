"""Duplicates among runs made with Recorder: planted causes are found, and honest runs are not suspected."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from lightning_lde import Lake, Recorder
from lightning_lde.capture import weights_fingerprint
from lightning_lde.schema import Link, Run, new_run_id, utc_now
from lightning_lde.study import find_duplicates
from lightning_lde.study._duplicates import NOT_USED, SAME_RESULTS, SAME_WEIGHTS, TWICE

Evaluate = Callable[[torch.nn.Module, int], float]
INPUTS = torch.linspace(-1.0, 1.0, 40).reshape(10, 4)


def honest(model: torch.nn.Module, epoch: int) -> float:
    return float(model(INPUTS).square().mean()) + epoch


def ignores_the_model(model: torch.nn.Module, epoch: int) -> float:
    return float(INPUTS.square().mean()) * (epoch + 1)


def with_dropout(model: torch.nn.Module, epoch: int) -> float:
    return float(torch.nn.functional.dropout(model(INPUTS), 0.5).sum())


def model_of(seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return torch.nn.Linear(4, 2).requires_grad_(False)


def train(
    lake: Path,
    *,
    seed: int | None,
    model: torch.nn.Module,
    evaluate: Evaluate = honest,
    epochs: Sequence[int] = range(4),
    knows_weights: bool = True,
    **facts: str,
) -> str:
    """A run as a program without Lightning records it."""
    with Recorder(lake, project="p", system_metrics_every_s=None) as run:
        for epoch in epochs:
            run.log({"train/loss": 1.0 / (epoch + 1)}, step=epoch, context="train")
            run.log({"val/loss": evaluate(model, epoch)}, step=epoch, context="val")
        run.describe_later(lambda: run.update(seed=seed, dataset_config_id="split", **facts))
        if knows_weights:
            run.update(weights_end_id=weights_fingerprint(model))
    return run.run_id


def kinds(lake: Path) -> list[tuple[str, set[str]]]:
    return [(one.kind, set(one.run_ids)) for one in find_duplicates(Lake(lake), project="p")[0]]


def test_honest_runs_are_not_suspected(lake_path: Path) -> None:
    for seed in range(3):
        train(lake_path, seed=seed, model=model_of(seed))
    assert kinds(lake_path) == []


def test_an_evaluation_that_ignores_the_model(lake_path: Path) -> None:
    train(lake_path, seed=9, model=model_of(9))
    same = {train(lake_path, seed=seed, model=model_of(seed), evaluate=ignores_the_model) for seed in (0, 1, 2)}
    assert kinds(lake_path) == [(SAME_RESULTS, same)]
    (found,), _, _ = find_duplicates(Lake(lake_path), project="p")
    assert "3 runs have the same 4 results but 3 different final weights" in found.message


def test_seeds_that_were_not_used(lake_path: Path) -> None:
    same = {train(lake_path, seed=seed, model=model_of(0)) for seed in (0, 1)}
    assert kinds(lake_path) == [(NOT_USED, same)]
    assert "a different seed" in find_duplicates(Lake(lake_path), project="p")[0][0].message


def test_seeds_that_were_not_used_are_found_without_weights_too(lake_path: Path) -> None:
    same = {train(lake_path, seed=seed, model=model_of(0), knows_weights=False) for seed in (0, 1)}
    assert kinds(lake_path) == [(NOT_USED, same)]
    assert "final weights are not recorded" in find_duplicates(Lake(lake_path), project="p")[0][0].message


def test_an_evaluation_that_is_not_deterministic(lake_path: Path) -> None:
    model = model_of(0)
    same = {train(lake_path, seed=0, model=model, evaluate=with_dropout) for _ in range(2)}
    train(lake_path, seed=1, model=model_of(1), evaluate=with_dropout)
    assert kinds(lake_path) == [(SAME_WEIGHTS, same)]
    assert "val/loss val with" in find_duplicates(Lake(lake_path), project="p")[0][0].message


def test_other_evaluation_data_may_give_other_results(lake_path: Path) -> None:
    model = model_of(0)
    first = train(lake_path, seed=0, model=model)
    second = train(lake_path, seed=0, model=model, evaluate=with_dropout)
    assert [kind for kind, _ in kinds(lake_path)] == [SAME_WEIGHTS]
    for run_id, data in ((first, "test 1"), (second, "test 2")):
        link = Link(
            source_kind="run", source_id=run_id, relation="evaluated_on", target_kind="dataset_config",
            target_id=data, run_id=run_id, recorded_at=utc_now(),
        )  # fmt: skip
        Lake(lake_path).storage.add_records("links", [link], project="p")
    assert kinds(lake_path) == []


def test_a_run_that_is_there_twice(lake_path: Path) -> None:
    same = {train(lake_path, seed=3, model=model_of(3)) for _ in range(2)}
    assert kinds(lake_path) == [(TWICE, same)]


def test_a_reproduction_is_meant_to_be_equal(lake_path: Path) -> None:
    first = train(lake_path, seed=3, model=model_of(3))
    train(lake_path, seed=3, model=model_of(3), reproduces=first)
    assert kinds(lake_path) == []


def test_equal_results_in_another_environment_are_good_news(lake_path: Path) -> None:
    train(lake_path, seed=3, model=model_of(3), environment_id="laptop")
    train(lake_path, seed=3, model=model_of(3), environment_id="server")
    assert kinds(lake_path) == []


def test_nan_equals_nan_and_nothing_but_nan_says_nothing(lake_path: Path) -> None:
    def partly(model: torch.nn.Module, epoch: int) -> float:
        return math.nan if epoch == 2 else float(epoch)

    same = {train(lake_path, seed=seed, model=model_of(seed), evaluate=partly) for seed in (0, 1)}
    broken = [train(lake_path, seed=seed, model=model_of(seed), evaluate=lambda *_: math.nan) for seed in (2, 3)]
    duplicates, _, notes = find_duplicates(Lake(lake_path), project="p")
    assert [(one.kind, set(one.run_ids)) for one in duplicates] == [(SAME_RESULTS, same)]
    assert notes == [f"Not looked at for duplicates, no result is a finite number: {', '.join(broken)}."]


def test_nan_beside_a_number_is_a_difference(lake_path: Path) -> None:
    model = model_of(0)
    train(lake_path, seed=0, model=model)
    train(lake_path, seed=0, model=model, evaluate=lambda *_: math.nan)
    assert [kind for kind, _ in kinds(lake_path)] == [SAME_WEIGHTS]


def test_coarse_results_that_chance_can_make_equal_are_a_note(lake_path: Path) -> None:
    for seed in (0, 1):
        train(lake_path, seed=seed, model=model_of(seed), evaluate=lambda *_: 0.75, epochs=[0])
    duplicates, _, notes = find_duplicates(Lake(lake_path), project="p")
    assert duplicates == []
    assert notes[0].startswith("2 runs share all results with another run, but these are fewer than 3 distinct")


def test_runs_of_another_project_and_unfinished_ones_do_not_count(lake_path: Path) -> None:
    train(lake_path, seed=0, model=model_of(0))
    now = utc_now()
    row = Run(
        run_id=new_run_id(), segment=0, revision=0, project="q", status="finished", started_at=now, heartbeat_at=now,
        heartbeat_every_s=5.0,
    )  # fmt: skip
    Lake(lake_path).storage.add_records("runs", [row], project="q")

    def stops(model: torch.nn.Module, epoch: int) -> float:
        if epoch == 3:
            raise ValueError("stop")
        return honest(model, epoch)

    with pytest.raises(ValueError, match="stop"):
        train(lake_path, seed=0, model=model_of(0), evaluate=stops)
    assert kinds(lake_path) == []
