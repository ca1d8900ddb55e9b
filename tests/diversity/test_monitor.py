"""The monitor on data that are grown class by class, with planted plateaus, regions and gaps."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats
from sklearn.datasets import load_digits

from lightning_lde.diversity import DiversityMonitor, MonitorUpdate, crossvalidated_coefficient
from lightning_lde.diversity._stopping import alarm_probability
from lightning_lde.errors import ConfigurationError, DataError

DIMENSION = 32


class World:
    """Classes of Gaussian features with one covariance that is far from diagonal."""

    def __init__(self, seed: int = 0, classes: int = 400) -> None:
        self.rng = np.random.default_rng(seed)
        self.centres = self.rng.normal(scale=1.5, size=(classes, DIMENSION))
        self.mixing = self.rng.normal(size=(DIMENSION, DIMENSION)) / np.sqrt(DIMENSION)

    def sample(self, label: int, n: int = 16) -> tuple[np.ndarray, list[int]]:
        return self.centres[label] + self.rng.normal(size=(n, DIMENSION)) @ self.mixing, [label] * n


def grown(monitor: DiversityMonitor, world: World, *, classes: int, batches: int) -> Iterator[MonitorUpdate]:
    """One new class a batch up to a plateau, then batches of the classes that are there."""
    for batch in range(batches):
        yield monitor.add(*world.sample(batch if batch < classes else int(world.rng.integers(classes))))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("growth", "within"), [(0.7, 7), (0.9, 5)])
def test_the_warning_comes_in_the_first_batches_after_the_plateau_and_not_before(
    seed: int, growth: float, within: int
) -> None:
    monitor = DiversityMonitor(growth=growth)
    updates = list(grown(monitor, World(seed), classes=30, batches=45))
    alarms = [update.batch for update in updates if update.alarm]
    assert all(update.new for update in updates[:30])
    assert 30 < alarms[0] <= 30 + within + monitor_slack(updates[30:])
    assert "Diversity has stopped growing" in monitor.report().warnings[0]


def monitor_slack(after: list[MonitorUpdate]) -> int:
    """Batches that a chance finding after the plateau costs: itself and the step back."""
    return 5 * sum(bool(update.new) for update in after)


def test_the_warning_on_real_images_grown_class_by_class() -> None:
    pixels, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    queues = {digit: iter(rng.permutation(np.flatnonzero(labels == digit))) for digit in range(10)}
    monitor = DiversityMonitor(growth=0.7)
    alarms, new = [], []
    for batch in range(22):
        digit = batch if batch < 10 else int(rng.integers(10))
        rows = [next(queues[digit]) for _ in range(24)]
        update = monitor.add(pixels[rows], labels[rows])
        new.append(update.new)
        if update.alarm:
            alarms.append(update.batch)
    assert all(new[:10])
    assert 10 < alarms[0] <= 17
    regions = monitor.report().regions
    assert len(regions) == 10
    assert all(region.labels.keys() == {region.number} for region in regions)


def test_a_set_that_goes_on_growing_is_not_warned_of() -> None:
    monitor = DiversityMonitor()
    assert not any(update.stopped for update in grown(monitor, World(), classes=100, batches=100))
    assert len(monitor.report().regions) == 100


@pytest.mark.slow
def test_false_alarms_come_at_most_as_often_as_stated_and_as_often_as_computed() -> None:
    alarmed, repetitions = 0, 150
    for seed in range(repetitions):
        world = World(seed)
        monitor = DiversityMonitor(growth=0.6, horizon=60, false_alarm=0.2)
        seen = 0
        for _ in range(60):
            new = seen == 0 or world.rng.random() < 0.6
            seen += new
            if monitor.add(*world.sample(seen - 1 if new else int(world.rng.integers(seen)))).alarm:
                alarmed += 1
                break
    computed = alarm_probability(
        0.6, threshold=monitor._cusum.threshold, step_back=monitor._cusum.step_back, horizon=60
    )
    assert alarmed / repetitions <= 0.2 + 2 * np.sqrt(0.2 * 0.8 / repetitions)
    # Chance findings make growth look a little larger than it is, never smaller.
    assert stats.binomtest(alarmed, repetitions, computed, alternative="greater").pvalue > 0.01
    assert alarmed > 0


@pytest.mark.slow
@pytest.mark.parametrize("images", [4, 8, 16])
def test_the_level_of_the_test_of_a_batch_holds_for_correlated_features(images: int) -> None:
    new = []
    for seed in range(60):
        world, monitor = World(seed), DiversityMonitor(images=4, significance=0.05)
        updates = [monitor.add(*world.sample(0, images)) for _ in range(40)]
        new += [bool(update.new) for update in updates[2:]]
    assert 0.03 <= np.mean(new) <= 0.06


def test_a_new_kind_inside_an_old_class_counts_as_new() -> None:
    world, monitor = World(), DiversityMonitor()
    for _ in range(3):
        monitor.add(world.sample(0)[0], ["dog"] * 16)
    assert monitor.add(world.sample(1)[0], ["dog"] * 16).new
    assert not monitor.add(world.sample(1)[0], ["dog"] * 16).new
    assert not monitor.add(world.sample(0)[0], ["another name"] * 16).new
    assert [region.labels for region in monitor.report().regions] == [{"dog": 48, "another name": 16}, {"dog": 32}]


def test_one_new_class_among_many_old_ones_makes_a_batch_new() -> None:
    world, monitor = World(), DiversityMonitor()

    def mixed(classes: range) -> MonitorUpdate:
        parts = [world.sample(label) for label in classes]
        return monitor.add(np.concatenate([part[0] for part in parts]), np.repeat(classes, 16))

    assert mixed(range(7)).new_regions == tuple(range(7))
    assert mixed(range(7)).new is False
    assert mixed(range(8)).new_regions == (7,)


def test_the_coefficient_is_that_of_the_observations() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 20))
    first, second = truth + 0.2 * rng.normal(size=(2, 40, 20))
    monitor = DiversityMonitor()
    for start in range(0, 40, 5):
        part = slice(start, start + 5)
        update = monitor.add_halves(first[part], second[part], np.arange(40)[part])
    expected = crossvalidated_coefficient(first, second)
    found = monitor.report().coefficient
    assert found is not None
    assert update.value == pytest.approx(expected.value, rel=1e-12)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_tasks_by_halves_reach_a_plateau() -> None:
    rng = np.random.default_rng(2)
    sources = rng.normal(size=(12, 50))
    monitor = DiversityMonitor()
    updates = []
    for batch in range(30):
        source = batch if batch < 12 else int(rng.integers(12))
        first, second = sources[source] + 0.5 * rng.normal(size=(2, 4, 50))
        updates.append(monitor.add_halves(first, second, [source] * 4, images=20))
    assert all(update.new for update in updates[:12])
    assert 12 < next(update.batch for update in updates if update.alarm) <= 22


def test_kinds_within_the_resolution_are_one() -> None:
    rng = np.random.default_rng(3)
    tasks = rng.normal(size=(60, 50))
    first, second = tasks + 0.1 * rng.normal(size=(2, 60, 50))
    fine, coarse = DiversityMonitor(), DiversityMonitor(resolution=1.5)
    for monitor in (fine, coarse):
        for start in range(0, 60, 3):
            part = slice(start, start + 3)
            monitor.add_halves(first[part], second[part], ["source"] * 3)
    assert len(fine.report().regions) > 40
    assert len(coarse.report().regions) <= 2


def test_samples_wait_for_enough_of_their_kind() -> None:
    world, monitor = World(), DiversityMonitor(images=8)
    features, labels = world.sample(0, 5)
    update = monitor.add(features, labels)
    assert (update.observations, update.new) == (0, None)
    assert monitor.report().waiting == 5
    assert monitor.report().coefficient is None
    assert monitor.add(*world.sample(0, 3)).observations == 1
    assert monitor.report().waiting == 0


def test_a_group_never_reaches_both_halves() -> None:
    world, monitor = World(), DiversityMonitor(images=4)
    for _ in range(5):
        assert monitor.add(*world.sample(0, 6), groups=["one recording"] * 6).observations == 0
    assert monitor.report().waiting == 30
    assert monitor.add(*world.sample(0, 2), groups=["another"] * 2).observations == 1


def test_copies_are_left_out_and_a_batch_of_them_brings_nothing_new() -> None:
    world, monitor = World(), DiversityMonitor()
    batch = world.sample(0)
    monitor.add(*batch)
    updates = [monitor.add(*batch) for _ in range(8)]
    assert all(update.new is False for update in updates)
    assert updates[-1].stopped
    report = monitor.report()
    assert (report.copies, report.images) == (8 * 16, 16)


def test_missing_classes_are_named_once_the_numbers_show_it() -> None:
    world = World()
    monitor = DiversityMonitor(expected={"a": 3.0, "b": 1.0, "c": 1.0})
    monitor.add(world.sample(0)[0], ["a"] * 16)
    assert [one.label for one in monitor.report().classes if one.missing] == []
    for _ in range(4):
        monitor.add(world.sample(0)[0], ["a"] * 16)
        monitor.add(world.sample(1)[0], ["b"] * 16)
    report = monitor.report()
    assert [one.label for one in report.classes if one.missing] == ["c"]
    assert [one.expected for one in report.classes] == pytest.approx([0.6, 0.2, 0.2])
    interval = stats.binomtest(64, 144).proportion_ci(method="wilson")
    assert (report.classes[1].low, report.classes[1].high) == pytest.approx((interval.low, interval.high))
    assert "1 of 3 expected classes are missing or rare: c (0.0% of 20.0%)" in report.warnings[-1]


def test_candidates_are_ranked_by_what_they_add_and_not_taken() -> None:
    world, monitor = World(), DiversityMonitor()
    for label, batches in ((0, 6), (1, 2)):
        for _ in range(batches):
            monitor.add(*world.sample(label))
    before = monitor.report()
    parts = [world.sample(label) for label in (0, 1, 2)]
    features = np.concatenate([part[0] for part in parts])
    ranked = monitor.rank(features, ["frequent"] * 16 + ["rare"] * 16 + ["unseen"] * 16)
    assert [score.label for score in ranked] == ["unseen", "rare", "frequent"]
    assert [score.new for score in ranked] == [True, False, False]
    assert [score.region for score in ranked[1:]] == [1, 0]
    assert ranked[-1].gain < 0.0 < ranked[1].gain
    assert monitor.report() == before
    assert monitor.rank(features[:1], ["single"]) == ()


def test_gain_is_the_change_of_the_effective_number() -> None:
    world, monitor = World(), DiversityMonitor(scale=0.1)
    for label in (0, 0, 0, 1, 1, 2):
        monitor.add(*world.sample(label))
    report = monitor.report()
    # Regions lie so far apart at this scale that they are hardly alike: W² / Σw².
    counts = np.array([3.0, 2.0, 1.0])
    assert report.effective == pytest.approx(36.0 / 14.0, rel=0.02)
    for region, change in zip(report.regions, np.eye(3), strict=True):
        expected = 49.0 / ((counts + change) ** 2).sum() - 36.0 / 14.0
        assert region.gain == pytest.approx(expected, abs=0.02)
    assert report.unseen == pytest.approx(1 / 6)


def test_a_copy_of_a_monitor_goes_on_as_the_monitor() -> None:
    world, monitor = World(), DiversityMonitor()
    monitor.add(*world.sample(0))
    other = copy.deepcopy(monitor)
    batch = world.sample(1)
    assert monitor.add(*batch) == other.add(*batch)
    assert monitor.report() == other.report()


def test_unfit_batches_and_settings_are_refused() -> None:
    monitor = DiversityMonitor()
    with pytest.raises(DataError, match="holds no observation yet"):
        monitor.rank(np.ones((2, 3)), ["a", "a"])
    monitor.add(*World().sample(0))
    with pytest.raises(DataError, match="9 and 32 dimensions"):
        monitor.add(np.ones((2, 9)), [0, 0])
    with pytest.raises(DataError, match="labels has 1 values for 2 rows"):
        monitor.add(np.ones((2, 32)), [0])
    with pytest.raises(DataError, match="nan or infinity"):
        monitor.add(np.full((2, 32), np.nan), [0, 0])
    for options, match in (
        ({"images": 5}, "images=5"),
        ({"resolution": -1.0}, "resolution=-1.0"),
        ({"expected": []}, "expected is empty"),
        ({"expected": {"a": 0.0}}, r"expected\['a'\]=0.0"),
        ({"scale": 0.0}, "scale=0.0"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            DiversityMonitor(**options)
