"""Probes by name: random, of a run, of a file; and how far probes agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from lightning_lde import Lake
from lightning_lde.diversity import resnet18
from lightning_lde.errors import ConfigurationError, RunNotFoundError
from lightning_lde.fewshot import Conv4
from lightning_lde.study import StudySettings, measure_diversity, open_probe, probe_sensitivity, sensitivity_lines
from lightning_lde.study._probes import fitted_to
from lightning_lde.study._sensitivity import rank_correlation

from .conftest import SmallStudy
from .planted import planted_lake, waves

SETTINGS = StudySettings(image_size=16, width=4, diversity_tasks=3, diversity_images=4)
DATA = [waves(1, images=10), waves(2, images=10)]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake").create()


def test_a_random_probe_follows_from_its_seed_and_the_data(lake: Lake) -> None:
    torch.manual_seed(1)
    one = open_probe("random", lake, DATA, SETTINGS, project="p")
    torch.manual_seed(2)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        again = open_probe("random:0", lake, DATA, SETTINGS, project="p")
    finally:
        torch.set_num_threads(threads)
    assert (one.probe.probe_id, one.run_id, one.probe.name) == (again.probe.probe_id, None, "random Conv4-4, seed 0")
    for words, data in (("random:1", DATA), ("random", DATA[:1])):
        assert open_probe(words, lake, data, SETTINGS, project="p").probe.probe_id != one.probe.probe_id


@pytest.mark.parametrize("algorithm", ["pretraining", "maml-first-order"])
def test_a_run_of_the_lake_is_a_probe(small_study: SmallStudy, algorithm: str) -> None:
    lake = small_study.lake
    run = f"greek/{algorithm}/seed 0"
    # The study's data are 28 pixels wide; MAML has no statistics of its own and takes those of the data.
    data = [one.prepared(size=28, channels=1) for one in DATA]
    found = open_probe(f"run:{run}", lake, data, StudySettings(), project="small")
    assert found.run_id == lake.resolve_run(run)
    weights = lake.load_checkpoint(run, "last")["state_dict"]
    state = found.probe.backbone.state_dict()
    shared = [name for name in state if f"backbone.{name}" in weights]
    assert len(shared) >= len(list(found.probe.backbone.parameters()))
    assert all(torch.equal(state[name], weights[f"backbone.{name}"]) for name in shared)
    assert found.probe.features(data[0].gather(np.arange(3))).shape[0] == 3


def test_a_file_in_the_format_of_torchvision_is_a_probe(lake: Lake, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = resnet18()
    state = {**network.state_dict(), "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}
    torch.save(state, tmp_path / "resnet18.pth")
    found = open_probe(str(tmp_path / "resnet18.pth"), lake, DATA, SETTINGS, project="p").probe
    assert found.name == "resnet18.pth"
    grey = DATA[0].gather(np.arange(2))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normalised = (grey.expand(-1, 3, -1, -1) - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
    coloured = fitted_to(DATA[0], found)
    with torch.no_grad():
        expected = network.eval()(normalised)
    assert torch.allclose(found.features(coloured.gather(np.arange(2))), expected, atol=1e-5)
    assert coloured.fingerprint != DATA[0].fingerprint
    assert coloured.lde_facts() == DATA[0].lde_facts()


@pytest.mark.slow
def test_a_probe_that_takes_colour_measures_grey_data(lake: Lake, tmp_path: Path) -> None:
    torch.save(resnet18().state_dict(), tmp_path / "resnet18.pth")
    probe = open_probe(str(tmp_path / "resnet18.pth"), lake, DATA, SETTINGS, project="p").probe
    (found,) = measure_diversity(lake, DATA[1:], SETTINGS, probe, project="p")
    assert np.isfinite(found.coefficient.value)
    assert found.probe == "resnet18.pth"


def test_words_that_name_no_probe_say_what_would(lake: Lake, tmp_path: Path) -> None:
    for words in ("nothing", "random:x", "run:", "studi"):
        with pytest.raises(ConfigurationError, match="give 'study', 'random'"):
            open_probe(words, lake, DATA, SETTINGS, project="p")
    with pytest.raises(RunNotFoundError):
        open_probe("run:unknown", lake, DATA, SETTINGS, project="p")
    torch.save(Conv4(), tmp_path / "whole.pth")
    with pytest.raises(ConfigurationError, match="save a state dict"):
        open_probe(str(tmp_path / "whole.pth"), lake, DATA, SETTINGS, project="p")


TRUTH = {f"set {number}": 0.1 * number for number in range(1, 7)}


def test_the_sensitivity_to_the_probe(tmp_path: Path) -> None:
    turned = dict(zip(TRUTH, reversed(TRUTH.values()), strict=True))
    lake = planted_lake(tmp_path / "lake", {"a": TRUTH, "b": turned, "c": dict(list(TRUTH.items())[:3])}, n_tasks=40)
    found = probe_sensitivity(lake)
    assert found.probes == ("b", "a", "c")  # the newest of equals first, then those with fewer data sets
    assert found.datasets == tuple(TRUTH)
    values = np.array([[np.nan if one is None else one.coefficient.value for one in row] for row in found.diversities])
    assert np.isnan(values).sum() == 3
    for one, (first, second) in zip(found.agreements, ((0, 1), (0, 2), (1, 2)), strict=True):
        both = ~np.isnan(values[:, first] + values[:, second])
        expected = scipy.stats.spearmanr(values[both, first], values[both, second]).statistic
        assert (one.first, one.second, one.n) == (found.probes[first], found.probes[second], both.sum())
        assert one.rho == pytest.approx(expected)
    assert found.agreements[0].high < 0.0
    assert np.isnan(found.agreements[1].low)
    lines = sensitivity_lines(found)
    assert lines[0].split() == ["data", "set", "probe", "1", "probe", "2", "probe", "3"]
    assert f"{values[0, 0]:.4f}" in lines[1]
    assert sum("rank correlation" in line for line in lines) == 3
    assert probe_sensitivity(Lake(tmp_path / "empty").create()).probes == ()


def test_the_interval_of_a_rank_correlation_holds() -> None:
    rng = np.random.default_rng(0)
    r = 0.6
    truth = 6 / np.pi * np.arcsin(r / 2)  # of a bivariate normal: Pearson (1907)
    hits = 0
    for x, noise in rng.normal(size=(600, 2, 15)):
        rho, low, high = rank_correlation(x, r * x + np.sqrt(1 - r**2) * noise)
        assert low <= rho <= high
        hits += low < truth < high
    assert 0.92 < hits / 600 < 0.98


def test_rank_correlations_at_the_border() -> None:
    for n in (4, 5, 12):
        rho, low, high = rank_correlation(range(n), range(n))
        assert rho == pytest.approx(high) == pytest.approx(1.0)
        assert -1.0 < low < 1.0
        assert rank_correlation(range(n), range(n, 0, -1)) == pytest.approx((-rho, -high, -low), abs=1e-12)
    assert np.isnan(rank_correlation([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0])[0])
    assert np.isnan(rank_correlation([1.0], [1.0])[0])
