"""lde recommend and analysis/recommend.py: on a lake with a planted optimum, on a file, and as a file that trains."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from lightning_lde import Lake
from lightning_lde.capture import flatten_params
from lightning_lde.cli import app, main
from lightning_lde.errors import DataError
from lightning_lde.query import advise, lightning_config
from lightning_lde.recommend import ResultTable
from lightning_lde.schema import Dataset, DatasetConfig, Pipeline, PipelineConfig, Record, Run
from lightning_lde.ui import recommendation_text

ROOT = Path(__file__).parent.parent.parent
NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
SETS = ("a", "b", "c", "d", "new")
LRS = (0.001, 0.01, 0.1)


def accuracy(number: int, lr: float, seed: int) -> float:
    """0.01 is the best everywhere."""
    return 0.5 + 0.05 * number + {0.001: 0.1, 0.01: 0.2, 0.1: 0.0}[lr] + 0.001 * seed


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three learning rates, two seeds, on four data sets; a fifth one has one result."""
    rows: dict[str, list[Record]] = {"datasets": [], "dataset_configs": [], "runs": [], "params": []}
    rows["pipelines"] = [Pipeline(pipeline_id="net", recorded_at=NOW, module_class="m.Net")]
    rows["pipeline_configs"] = []
    for lr in LRS:
        hparams = {"lr": lr, "width": 8, "backbone": {"class": "Conv", "width": 4}, "datamodule": {"n": 16}}
        rows["pipeline_configs"].append(
            PipelineConfig(pipeline_config_id=f"{lr}", recorded_at=NOW, pipeline_id="net", hparams=hparams)
        )
        rows["params"] += flatten_params(f"{lr}", hparams)
    for number, name in enumerate(SETS):
        rows["datasets"].append(
            Dataset(
                dataset_id=f"id {name}", name=name, recorded_at=NOW, n_samples=100 * 2**number, n_classes=number + 2
            )
        )
        rows["dataset_configs"].append(
            DatasetConfig(dataset_config_id=f"use {name}", dataset_id=f"id {name}", recorded_at=NOW)
        )
        for lr in LRS if name != "new" else LRS[:1]:
            for seed in (0, 1):
                started = NOW + timedelta(minutes=len(rows["runs"]))
                rows["runs"].append(Run(
                    run_id=f"{name}-{lr}-{seed}", segment=0, revision=0, project="p", status="finished", seed=seed,
                    started_at=started, heartbeat_at=NOW, heartbeat_every_s=5.0, pipeline_config_id=f"{lr}",
                    dataset_config_id=f"use {name}", summary={"val/acc": {"last": accuracy(number, lr, seed)}},
                ))  # fmt: skip
    path = tmp_path_factory.mktemp("recommend") / "lake"
    for table, records in rows.items():
        Lake(path).create().storage.add_records(table, records, project="p")
    return str(path)


def lde(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["recommend", *words], catch_exceptions=code == 0)
    assert done.exit_code == code, done.output
    return done.stdout


def test_the_text_says_what_why_and_which_runs(lake: str) -> None:
    text = lde(lake, "--metric", "val/acc", "--data-set", "new")
    assert "val/acc (larger is better) on new: learned from 24 results on 4 data sets" in text
    assert "Tried on it already, so not proposed again: 1 configuration" in text
    first = next(line for line in text.splitlines() if line.startswith("1. "))
    assert first.endswith("lr=0.01")
    assert "d-0.01-0, d-0.01-1" in text
    assert "Settings that matter, by share of the differences: lr 100 %" in text
    assert "lr 0.01 against 0.1" in text


def test_json_has_the_runs_beside_the_results(lake: str) -> None:
    page = json.loads(lde(lake, "--metric", "val/acc", "--data-set", "id new", "--format", "json", "-k", "1"))
    (first,) = page["proposals"]
    assert (page["dataset"], first["settings"], first["n_repetitions"]) == ("new", {"lr": 0.01}, 8)
    assert list(page["told"].values()) == [pytest.approx(0.8005)]
    for one in first["evidence"]:
        assert one["runs"] == [f"{one['dataset']}-0.01-{seed}" for seed in (0, 1)]
        assert one["mean"] == pytest.approx(accuracy(SETS.index(one["dataset"]), 0.01, 0) + 0.0005)
        assert one["rank"] == 1.0


def test_a_data_set_that_nobody_recorded(lake: str, tmp_path: Path) -> None:
    described = tmp_path / "new.json"
    described.write_text('{"log samples": 4.5, "log classes": 0.7, "log samples per class": 3.9}')
    words = (lake, "--metric", "val/acc", "--descriptors", str(described), "--format", "json")
    page = json.loads(lde(*words))
    assert page["dataset"] is None
    assert page["proposals"][0]["settings"]["lr"] == 0.01
    assert {one["dataset"] for one in page["similar"]} == set(SETS)
    assert page["similar"][0]["dataset"] == "a"


def test_what_was_tried_may_be_recommended_again(lake: str) -> None:
    words = (lake, "--metric", "val/acc", "--data-set", "a")
    assert "Nothing is left to try. The best so far is" in lde(*words)
    assert "1. " in lde(*words, "--afresh")


def test_less_is_better(lake: str) -> None:
    words = (lake, "--metric", "val/acc", "--data-set", "new", "--mode", "min", "--format", "json")
    assert json.loads(lde(*words))["proposals"][0]["settings"] == {"lr": 0.1}


def test_single_runs(lake: str) -> None:
    page = json.loads(lde(lake, "--metric", "val/acc", "--data-set", "new", "--single", "--format", "json"))
    assert page["proposals"][0]["n_repetitions"] == 4
    assert page["n_runs"] == 12


def test_the_gain_of_aggregation(lake: str) -> None:
    text = lde(lake, "--metric", "val/acc", "--evaluate")
    assert "Regret on 4 held-out data sets" in text
    assert "after 1 tried: single 0.00, aggregated 0.00, gain +0.00 [+0.00, +0.00]" in text
    page = json.loads(lde(lake, "--metric", "val/acc", "--evaluate", "--format", "json"))
    assert page["steps"][0]["random"] > 0


def test_a_table_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("name,lr,error\na,0.1,3\na,0.2,1\nb,0.1,4\nb,0.2,2\nc,0.1,5\n")
    words = ("--table", str(path), "--table-data-set", "name", "--metric", "error", "--mode", "min")
    page = json.loads(lde(*words, "--data-set", "c", "--format", "json"))
    assert page["proposals"][0]["settings"] == {"lr": 0.2}
    assert yaml.safe_load(lde(*words, "--data-set", "c", "--format", "yaml")) == {"model": {"lr": 0.2}}


def test_rows_of_a_table_that_differ_in_what_is_ignored_are_repetitions(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    rows = [f"{name},{lr},{seed},{lr + seed / 100}" for name in "abc" for lr in (0.1, 0.2) for seed in (0, 1, 2)]
    path.write_text("\n".join(["dataset,lr,seed,acc", *rows]))
    words = ("--table", str(path), "--metric", "acc", "--data-set", "c", "--afresh", "--format", "json")
    first = json.loads(lde(*words, "--ignore", "seed"))["proposals"][0]
    assert (first["settings"], first["n_datasets"], first["n_repetitions"]) == ({"lr": 0.2}, 2, 6)
    done = CliRunner().invoke(app, ["recommend", *words, "--ignore", "sede"])
    assert "no column 'sede'; it has 'dataset'" in str(done.exception)


def test_results_come_from_one_place(lake: str, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("dataset,lr,acc\na,0.1,3\n")
    done = CliRunner().invoke(app, ["recommend", lake, "--table", str(path), "--metric", "acc", "--data-set", "a"])
    assert done.exit_code == 2
    assert "Give one of them" in done.output


def test_names_are_not_obeyed_by_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.csv"
    rows = [f'"{name}\x1b[2J","x\n\x07y{lr}",{lr}' for name in "abc" for lr in (1, 2)]
    path.write_text("\n".join(["dataset,act,acc", *rows]))
    table = ResultTable.from_file(path, metric="acc")
    text = recommendation_text(advise(table, "c\x1b[2J", afresh=True))
    assert "act=x  y2" in text
    assert all(line.isprintable() for line in text.splitlines())
    words = ["lde", "recommend", "--table", str(path), "--metric", "acc", "--data-set", "z"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    assert "there are: a [2J, b [2J, c [2J" in line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--metric", "val/acc"), "for which data set?"),
        (("--metric", "acc", "--data-set", "a"), "there are: val/acc"),
        (("--metric", "val/acc", "--data-set", "e"), "there are: a, b, c, d, new"),
    ],
)
def test_what_cannot_be_answered(lake: str, words: tuple[str, ...], message: str) -> None:
    done = CliRunner().invoke(app, ["recommend", lake, *words])
    assert done.exit_code != 0
    assert message in f"{done.output} {done.exception}"


def test_a_list_of_data_sets_says_that_it_is_not_all() -> None:
    names = [f"{letter}{letter}" for letter in "abcdefghijkl"]
    table = ResultTable.from_columns(dataset=names, configuration=["x"] * 12, metric=range(12))
    with pytest.raises(DataError, match=r"there are: aa, .*, jj and 2 more"):
        advise(table, "zz")


def test_descriptors_that_are_no_numbers(lake: str, tmp_path: Path) -> None:
    path = tmp_path / "new.json"
    for text in ("{", '{"log samples": "many"}', "[1]"):
        path.write_text(text)
        done = CliRunner().invoke(app, ["recommend", lake, "--metric", "val/acc", "--descriptors", str(path)])
        assert done.exit_code == 2
        assert "is not" in done.output


def test_sections_of_a_configuration(lake: str) -> None:
    settings = {
        "lr": 0.01, "trainer.max_epochs": 3, "datamodule.n": 32, "data.batch_size": 4, "sizes": "[8,8]",
        "head.depth": 2, "method": "maml", "optimizer.class": "torch.optim.adam.Adam", "module": "m.Net",
    }  # fmt: skip
    found = lightning_config(settings, lake=Lake(lake), runs=["a-0.1-0"], with_class=True)
    assert found == {
        "trainer": {"max_epochs": 3},
        "model": {
            "class_path": "m.Net",
            "init_args": {"lr": 0.01, "width": 8, "sizes": [8, 8], "head": {"depth": 2}},
        },
        "data": {"n": 32, "batch_size": 4},
    }


PROGRAM = """
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.demos.boring_classes import BoringDataModule

class Net(LightningModule):
    def __init__(self, lr: float = 1.0, width: int = 1):
        super().__init__()
        self.save_hyperparameters()
        self.layers = torch.nn.Sequential(torch.nn.Linear(32, width), torch.nn.Linear(width, 2))

    def training_step(self, batch, batch_idx):
        return self.layers(batch).pow(2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

if __name__ == "__main__":
    cli = LightningCLI(Net, BoringDataModule, save_config_callback=None)
    print("trained", cli.model.hparams.lr, cli.model.hparams.width, cli.trainer.optimizers[0].param_groups[0]["lr"])
"""


@pytest.mark.slow
def test_the_file_trains_with_lightning_cli(lake: str, tmp_path: Path) -> None:
    config = tmp_path / "out.yaml"
    words = (lake, "--metric", "val/acc", "--data-set", "new", "--config", str(config))
    lde(*words)
    text = config.read_text()
    assert text.startswith("# configuration ")
    assert yaml.safe_load(text)["model"] == {"lr": 0.01, "width": 8}
    # The boring data have no size to choose.
    found: dict[str, Any] = {"model": yaml.safe_load(text)["model"], "trainer": {"fast_dev_run": 2}}
    found["trainer"] |= {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    config.write_text(yaml.safe_dump(found))
    (tmp_path / "net.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "net.py", "fit", "--config", str(config)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "trained 0.01 8 0.01" in done.stdout


@pytest.mark.slow
def test_the_program(lake: str, tmp_path: Path) -> None:
    words = [sys.executable, str(ROOT / "analysis/recommend.py"), lake, "val/acc", "new"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == lde(lake, "--metric", "val/acc", "--data-set", "new").strip()


def test_advice_of_a_lake_names_no_runs_of_the_data_set_itself(lake: str) -> None:
    advice = advise(Lake(lake).results("val/acc"), "new", k=3)
    assert {name for runs in advice.runs.values() for name in runs} == {"a", "b", "c", "d"}
