"""Zero-code capture: programs that know nothing of this package are recorded where LDE_URI is set, once."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import lightning.pytorch
import pytest
import pytorch_lightning
from pytorch_lightning.demos.boring_classes import BoringModel

from lightning_lde import Lake, LDECallback
from lightning_lde.automatic import callbacks
from lightning_lde.errors import RecordingWarning

pytestmark = pytest.mark.filterwarnings(
    "ignore::UserWarning", "ignore::FutureWarning", "error::lightning_lde.errors.LDEWarning"
)

PROGRAM = """
import logging, sys, warnings
warnings.simplefilter("ignore")
from {package} import Trainer
from {package}.demos.boring_classes import BoringModel

trainer = Trainer(accelerator="cpu", max_epochs=1, limit_train_batches=2, limit_val_batches=1, logger=False,
                  enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer.fit(BoringModel())
print("imported:", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def run(folder: Path, package: str, **variables: str) -> set[str]:
    """Train in a process of its own; the result is what it has imported."""
    program = folder / "train.py"
    program.write_text(PROGRAM.format(package=package))
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, str(program)], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.partition("imported:")[2].split())


@pytest.mark.parametrize("package", ["pytorch_lightning", pytest.param("lightning.pytorch", marks=pytest.mark.slow)])
def test_an_unchanged_program_is_recorded_once(tmp_path: Path, lake_path: Path, package: str) -> None:
    words = {"LDE_PROJECT": "p", "LDE_EXPERIMENT": "e", "LDE_NAME": "n"}
    imported = run(tmp_path, package, LDE_URI=str(lake_path), **words)
    rows = Lake(lake_path).sql("select status, project, experiment, name, stage from runs").to_pylist()
    assert rows == [{"status": "finished", "project": "p", "experiment": "e", "name": "n", "stage": "fit"}]
    assert "pytorch_lightning" not in imported or package == "pytorch_lightning"


@pytest.mark.slow
def test_without_the_variable_nothing_is_recorded_or_imported(tmp_path: Path) -> None:
    imported = run(tmp_path, "pytorch_lightning")
    assert "lightning_lde" in imported
    assert not imported & {"pyarrow", "duckdb", "s3fs"}
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]


def test_the_factory_alone_imports_nothing_heavy() -> None:
    code = "import sys; from lightning_lde.automatic import callbacks; print(callbacks(), *sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "[]"
    assert not {name.partition(".")[0] for name in found} & {"torch", "pyarrow", "pytorch_lightning", "lightning"}


@pytest.fixture
def automatic_lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LDE_URI", str(tmp_path / "automatic"))
    return tmp_path / "automatic"


def trainer(folder: Path, *found: Any, package: Any = pytorch_lightning, **options: Any) -> Any:
    defaults = {
        "max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 1, "logger": False, "accelerator": "cpu",
        "enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": folder,
    }  # fmt: skip
    return package.Trainer(callbacks=list(found), **{**defaults, **options})


def statuses(lake: Path) -> list[str]:
    return Lake(lake).sql("select status from runs").column("status").to_pylist()


@pytest.mark.parametrize("package", [pytorch_lightning, lightning.pytorch], ids=lambda package: package.__name__)
def test_an_explicit_callback_is_left_alone(
    tmp_path: Path, lake_path: Path, automatic_lake: Path, package: Any
) -> None:
    made = trainer(tmp_path, LDECallback(lake_path, on_error="raise"), package=package)
    made.fit(import_module(f"{package.__name__}.demos.boring_classes").BoringModel())
    assert statuses(lake_path) == ["finished"]
    assert not automatic_lake.exists()


def test_so_is_one_that_the_model_brings(tmp_path: Path, lake_path: Path, automatic_lake: Path) -> None:
    class Model(BoringModel):
        def configure_callbacks(self) -> list[Any]:
            return [LDECallback(lake_path, on_error="raise")]

    made = trainer(tmp_path)
    made.fit(Model())
    made.test(Model(), verbose=False)
    assert statuses(lake_path) == ["finished"] * 2
    assert not automatic_lake.exists()


def test_two_trainers_are_two_runs(tmp_path: Path, automatic_lake: Path) -> None:
    for _ in range(2):
        trainer(tmp_path).fit(BoringModel())
    assert statuses(automatic_lake) == ["finished"] * 2


def test_a_trainer_inside_a_trainer_is_a_run_of_its_own(tmp_path: Path, automatic_lake: Path) -> None:
    class Inner(pytorch_lightning.Callback):
        def on_train_start(self, *_: Any) -> None:
            trainer(tmp_path / "inner").fit(BoringModel())

    trainer(tmp_path, Inner()).fit(BoringModel())
    assert statuses(automatic_lake) == ["finished"] * 2


@pytest.mark.parametrize("url", ["s3://key:word@bucket/lake", "s3://", "nonsense://x"])
def test_a_wrong_address_costs_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("LDE_URI", url)
    with pytest.warns(RecordingWarning, match="LDE_URI is set, but nothing is recorded") as told:
        first = trainer(tmp_path)
    [message] = [str(warning.message) for warning in told if warning.category is RecordingWarning]
    assert "word" not in message
    for made in (first, trainer(tmp_path)):
        made.fit(BoringModel())


def test_an_empty_variable_is_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDE_URI", "")
    assert callbacks() == []


def test_resuming_with_either_kind_knows_the_first_run(
    tmp_path: Path, lake_path: Path, automatic_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = trainer(tmp_path)
    first.fit(BoringModel())
    [run_id] = Lake(automatic_lake).sql("select run_id from runs").column("run_id").to_pylist()
    path = first.checkpoint_callback.best_model_path
    trainer(tmp_path, LDECallback(lake_path, on_error="raise"), max_epochs=2).fit(BoringModel(), ckpt_path=path)
    assert Lake(lake_path).sql("select resumed_from from runs").to_pylist() == [{"resumed_from": run_id}]


def test_it_can_be_pickled(automatic_lake: Path) -> None:
    [callback] = callbacks()
    assert pickle.loads(pickle.dumps(callback)).state_key == callback.state_key
    assert callback.state_key.startswith("AutomaticCallback")
