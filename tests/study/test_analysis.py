"""The analysis on lakes written row by row: what is taken, what is averaged, what is left out and said."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lightning_lde.errors import DataError
from lightning_lde.statistics import holm
from lightning_lde.study import StudyAnalysis
from lightning_lde.ui import study_report

from .synthetic import MAML, PRETRAINING, TASKS, SyntheticLake, Value


@pytest.fixture
def made(lake_path: Path) -> SyntheticLake:
    return SyntheticLake(lake_path)


def sets(n: int) -> list[str]:
    return [f"set {index}" for index in range(n)]


def diversity_of(names: list[str]) -> dict[str, float]:
    return {name: 0.1 + 0.02 * index + 0.005 * (index % 3) for index, name in enumerate(names)}


def noisy(offset: float) -> Value:
    """Some accuracy, different for each data set, seed and task."""

    def value(dataset: str, seed: int, task: int) -> float:
        return offset + 0.1 * math.sin(7.0 * int(dataset.split()[-1]) + 3.0 * seed + 11.0 * task * offset)

    return value


def values_of(analysis: StudyAnalysis, method: str) -> list[float]:
    (result,) = (one for one in analysis.configurations if one.method == method)
    return [point.value for point in result.points]


def test_one_settings_id_is_taken_the_newest_by_default(made: SyntheticLake) -> None:
    names = sets(5)
    made.add_datasets(diversity_of(names))
    for settings, offset in (("bbbb", 0.3), ("cccc", 0.5), (None, 0.7)):
        made.add_runs(names, MAML, noisy(offset), settings=settings)
    expected = {
        offset: [np.mean([noisy(offset)(name, 0, task) for task in range(TASKS)]) for name in names]
        for offset in (0.3, 0.5, 0.7)
    }
    newest = made.analyse()
    assert values_of(newest, MAML) == pytest.approx(expected[0.5])
    assert (newest.settings_id, newest.other_settings) == ("cccc", ("bbbb", None))
    assert newest.notes[0] == "Taken: runs with settings cccc; the project has 2 others: bbbb, none."
    assert newest.notes[0] in study_report(newest)
    assert values_of(made.analyse(settings_id="bb"), MAML) == pytest.approx(expected[0.3])
    untagged = made.analyse(settings_id="none")
    assert values_of(untagged, MAML) == pytest.approx(expected[0.7])
    assert untagged.settings_id is None
    with pytest.raises(DataError, match=r"'dddd' mean 0 of project 'p'; it has: cccc, bbbb, none"):
        made.analyse(settings_id="dddd")


def test_tasks_of_different_size_are_different_configurations(made: SyntheticLake) -> None:
    names = sets(5)
    made.add_datasets(diversity_of(names))
    for shots, offset in ((1, 0.3), (5, 0.7)):
        made.add_runs(names, MAML, noisy(offset), settings=None, shots=shots)
        made.add_runs(names, PRETRAINING, noisy(offset + 0.1), settings=None, shots=shots)
    found = made.analyse()
    assert [(one.label, one.shots) for one in found.configurations[:2]] == [
        ("MAML first order, 5 steps (2-way 1-shot)", 1),
        ("MAML first order, 5 steps (2-way 5-shot)", 5),
    ]
    assert [point.n_tasks for one in found.configurations for point in one.points] == [TASKS] * 20
    assert [(one.first[-7:], one.second[-7:]) for one in found.comparisons] == [("1-shot)",) * 2, ("5-shot)",) * 2]


def test_one_probe_is_taken_and_the_others_are_named(made: SyntheticLake) -> None:
    names = sets(7)
    made.add_runs(names, MAML, noisy(0.5))
    made.add_datasets(diversity_of(names[:4]), probe="P1")
    made.add_datasets(diversity_of(names[4:6]), probe="P2")
    made.add_datasets({"set 6": None})
    found = made.analyse()
    assert [row["dataset"] for row in found.datasets] == names[:4]
    assert {row["diversity_probe_id"] for row in found.datasets} == {"P1"}
    assert "Left out, their diversity is of another probe than P1: set 4, set 5." in found.notes
    assert "Left out, without a diversity: set 6." in found.notes
    page = study_report(found)
    assert "another probe than P1: set 4, set 5." in page


def test_three_and_three_of_two_probes_are_no_six(made: SyntheticLake) -> None:
    names = sets(6)
    made.add_runs(names, MAML, noisy(0.5))
    made.add_datasets(diversity_of(names[:3]), probe="P1")
    made.add_datasets(diversity_of(names[3:]), probe="P2")
    with pytest.raises(DataError, match=r"3 data sets.*another probe than P2: set 0, set 1, set 2"):
        made.analyse()


def test_of_equal_probes_the_newest_is_taken_and_a_rarer_newer_one_is_not(made: SyntheticLake) -> None:
    names = sets(5)
    made.add_runs(names, MAML, noisy(0.5))
    made.add_datasets(diversity_of(names), probe="P1")
    made.add_datasets(dict.fromkeys(names[:2], 1.0), probe="P2")
    assert [row["diversity"] for row in made.analyse().datasets] == pytest.approx(list(diversity_of(names).values()))
    made.add_datasets({name: index / 5 for index, name in enumerate(names)}, probe="P3")
    assert {row["diversity_probe_id"] for row in made.analyse().datasets} == {"P3"}


def test_the_spread_is_that_over_tasks_of_the_mean_over_runs(made: SyntheticLake) -> None:
    names = sets(4)
    made.add_datasets(diversity_of(names))
    made.add_runs(names, MAML, noisy(0.5), seeds=4)
    (result,) = made.analyse().configurations
    for point in result.points:
        table = np.array([[noisy(0.5)(point.dataset, seed, task) for task in range(TASKS)] for seed in range(4)])
        assert point.value == pytest.approx(table.mean())
        assert point.sd == pytest.approx(table.mean(axis=0).std(ddof=1))
        assert (point.n_tasks, point.n_runs) == (TASKS, 4)
    rows = next(query.rows for query in made.analyse().queries if query.name.startswith("metric"))
    assert {row["n_seeds"] for row in rows} == {4}


def test_a_saturated_method_leaves_out_its_comparison_only(made: SyntheticLake) -> None:
    names = sets(6)
    made.add_datasets(diversity_of(names))
    made.add_runs(names, MAML, noisy(0.5))
    made.add_runs(names, "maml-higher-order", lambda *_: 1.0)
    made.add_runs(names, PRETRAINING, noisy(0.6))
    found = made.analyse()
    assert len(found.configurations) == 3
    assert [one.first for one in found.comparisons] == ["MAML first order, 5 steps"]
    (note,) = (one for one in found.notes if "against" in one)
    assert note.startswith(
        "MAML higher order, 5 steps against Pretraining + logistic regression is left out: y1 is 1.0"
    )
    assert "MAML higher order, 5 steps against" in study_report(found)


def test_a_loss_that_is_no_number_leaves_out_its_point_only(made: SyntheticLake) -> None:
    names = sets(6)
    made.add_datasets(diversity_of(names))
    made.add_runs(names, PRETRAINING, noisy(0.6))
    made.add_runs(names, MAML, lambda *one: math.nan if one == ("set 2", 0, 1) else noisy(0.5)(*one))
    found = made.analyse("loss")
    assert {one.method: one.correlation.n for one in found.configurations} == {MAML: 5, PRETRAINING: 6}
    assert [one.difference.n for one in found.comparisons] == [5]
    assert [effect.dataset for effect in found.effects[0].effects] == [name for name in names if name != "set 2"]
    assert "MAML first order, 5 steps: set 2 left out, the mean is no number." in found.notes
    assert "MAML first order, 5 steps minus pretraining: set 2 left out, the difference is no number." in found.notes
    assert "set 2" in study_report(found)


def test_a_configuration_without_enough_points_is_named(made: SyntheticLake) -> None:
    names = sets(5)
    made.add_datasets(diversity_of(names))
    made.add_runs(names, MAML, noisy(0.5))
    made.add_runs(names[:3], PRETRAINING, noisy(0.6))
    found = made.analyse()
    assert [one.method for one in found.configurations] == [MAML]
    assert "Pretraining + logistic regression is left out: it has 3 data sets, a correlation needs 4." in found.notes


def test_data_sets_of_one_name_are_two(made: SyntheticLake) -> None:
    names = sets(5)
    made.add_datasets(diversity_of(names), names=dict.fromkeys(names, "twin"))
    made.add_runs(names, MAML, noisy(0.5))
    made.add_runs(names, PRETRAINING, noisy(0.6))
    found = made.analyse()
    assert [point.dataset_id for point in found.configurations[0].points] == names
    assert [effect.dataset_id for effect in found.effects[0].effects] == names
    (one,) = found.comparisons
    x = list(diversity_of(names).values())
    assert one.difference.r_2 == pytest.approx(np.corrcoef(x, values_of(found, PRETRAINING))[0, 1])


def test_comparisons_are_corrected_for_their_number(made: SyntheticLake) -> None:
    names = sets(8)
    made.add_datasets(diversity_of(names))
    made.add_runs(names, MAML, noisy(0.5))
    made.add_runs(names, "maml-higher-order", noisy(0.4))
    made.add_runs(names, PRETRAINING, noisy(0.6))
    found = made.analyse().comparisons
    assert len(found) == 2
    assert [one.p_holm for one in found] == pytest.approx(holm([one.difference.p_williams for one in found]))
    assert min(one.p_holm for one in found) == pytest.approx(
        min(1, 2 * min(one.difference.p_williams for one in found))
    )


@pytest.mark.parametrize(("n", "methods", "said"), [(4, 1, True), (5, 1, False), (5, 4, True), (6, 4, False)])
def test_what_can_never_be_significant_is_said(made: SyntheticLake, n: int, methods: int, said: bool) -> None:
    made.add_datasets(diversity_of(sets(n)))
    for index in range(methods):
        made.add_runs(sets(n), f"method {index}", lambda dataset, seed, task: float(dataset[-1]) ** 1.1 + task)
    found = made.analyse()
    # A perfect order gives the smallest p there is.
    assert (min(one.p_holm for one in found.configurations) > 0.05) == said
    assert any(note.startswith(f"{n} data sets can never be significant") for note in found.notes) == said


def test_data_sets_without_variance_are_named(made: SyntheticLake) -> None:
    names = sets(5)
    made.add_datasets(diversity_of(names))
    made.add_runs(names, PRETRAINING, noisy(0.25))
    made.add_runs(names, MAML, lambda *one: noisy(0.25)(*one) if one[0] == "set 1" else noisy(0.5)(*one))
    found = made.analyse()
    assert [effect.dataset for effect in found.effects[0].effects] == [name for name in names if name != "set 1"]
    assert "MAML first order, 5 steps minus pretraining: set 1 left out of the mean, no variance over tasks." in (
        found.notes
    )
