"""One callback for `pytorch_lightning` and `lightning.pytorch`, in whichever order they are imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_lde import Lake

PL, LIGHTNING = "pytorch_lightning", "lightning.pytorch"

BELONGS = """
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
before, after = (words.split() for words in sys.argv[1:3])
for name in before:
    importlib.import_module(name)
import lightning_lde
from lightning_lde import LDECallback
early = LDECallback("lake")
for name in after:
    importlib.import_module(name)
late = LDECallback("lake")
class Own(LDECallback):
    pass
names = [name for name in ("pytorch_lightning", "lightning.pytorch") if name in sys.modules]
from lightning_lde._lightning._tap import MetricTap
print(json.dumps({
    "imported": names,
    "callback": [
        all(isinstance(one, sys.modules[name].Callback) for one in (early, late, Own("lake"))) for name in names
    ],
    "class": [issubclass(lightning_lde.LDECallback, sys.modules[name].Callback) for name in names],
    "tap": [isinstance(MetricTap(print), sys.modules[name].loggers.Logger) for name in names],
    "same": lightning_lde.LDECallback is LDECallback and isinstance(early, LDECallback),
}))
"""


def output(program: str, *arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    ("before", "after", "imported"),
    [
        pytest.param("", "", [PL], marks=pytest.mark.slow),
        pytest.param(PL, "", [PL], marks=pytest.mark.slow),
        (LIGHTNING, "", [LIGHTNING]),
        pytest.param(f"{PL} {LIGHTNING}", "", [PL, LIGHTNING], marks=pytest.mark.slow),
        pytest.param(f"{LIGHTNING} {PL}", "", [PL, LIGHTNING], marks=pytest.mark.slow),
        pytest.param("", LIGHTNING, [PL, LIGHTNING], marks=pytest.mark.slow),
        pytest.param(LIGHTNING, PL, [PL, LIGHTNING], marks=pytest.mark.slow),
    ],
)
def test_it_belongs_to_every_package_that_is_imported(
    tmp_path: Path, before: str, after: str, imported: list[str]
) -> None:
    found = json.loads(output(BELONGS, before, after, folder=tmp_path))
    every = [True] * len(imported)
    assert found == {"imported": imported, "callback": every, "class": every, "tap": every, "same": True}


TRAINS = """
import sys, warnings
warnings.simplefilter("ignore")
from {package} import Trainer
from {package}.demos.boring_classes import BoringModel
from {package}.loggers import CSVLogger
from lightning_lde import LDECallback

class Model(BoringModel):
    def training_step(self, batch, batch_idx):
        self.log("a", batch_idx)
        return super().training_step(batch, batch_idx)

trainer = Trainer(callbacks=LDECallback("lake", on_error="raise"), accelerator="cpu", max_epochs=1,
                  limit_train_batches=3, limit_val_batches=1, logger=CSVLogger("csv"), log_every_n_steps=1,
                  enable_progress_bar=False, enable_model_summary=False)
trainer.fit(Model())
print(*sys.modules)
"""


@pytest.mark.parametrize(("package", "other"), [pytest.param(PL, "lightning", marks=pytest.mark.slow), (LIGHTNING, PL)])
def test_it_records_in_either_and_does_not_import_the_other(tmp_path: Path, package: str, other: str) -> None:
    modules = output(TRAINS.format(package=package), folder=tmp_path).split()
    assert package in modules
    assert other not in modules
    rows = Lake(tmp_path / "lake").sql("select step, value, source from metrics where name = 'a' order by step")
    assert rows.to_pylist() == [{"step": step, "value": float(step), "source": "logged"} for step in range(3)]


CLI = """
import warnings
warnings.simplefilter("ignore")
{first}
from {package}.cli import LightningCLI
from {package}.demos.boring_classes import BoringDataModule, DemoModel
{then}
LightningCLI(DemoModel, BoringDataModule, save_config_callback=None)
"""

CONFIG = """
trainer:
  max_epochs: 1
  accelerator: cpu
  limit_train_batches: 2
  limit_val_batches: 1
  logger: false
  enable_progress_bar: false
  callbacks:
    - class_path: lightning_lde.LDECallback
      init_args:
        lake: lake
        project: p
        tags: {a: b}
        on_error: raise
"""

IMPORTED_FIRST = "from lightning_lde import LDECallback"


@pytest.mark.parametrize(
    ("package", "first", "then"),
    [
        pytest.param(PL, "", "", marks=pytest.mark.slow),
        (LIGHTNING, IMPORTED_FIRST, ""),
        pytest.param(PL, IMPORTED_FIRST, "", marks=pytest.mark.slow),
        pytest.param(LIGHTNING, "", "", marks=pytest.mark.slow),
        pytest.param(PL, "", IMPORTED_FIRST, marks=pytest.mark.slow),
        pytest.param(LIGHTNING, "", IMPORTED_FIRST, marks=pytest.mark.slow),
    ],
)
def test_lightning_cli_takes_a_class_path(tmp_path: Path, package: str, first: str, then: str) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    program = CLI.format(package=package, first=first, then=then)
    output(program, "fit", "--config", "config.yaml", folder=tmp_path)
    rows = Lake(tmp_path / "lake").sql("select status, project, tags from runs").to_pylist()
    assert rows == [{"status": "finished", "project": "p", "tags": '{"a":"b"}'}]


@pytest.mark.slow
def test_the_cli_explains_each_argument(tmp_path: Path) -> None:
    program = CLI.format(package=LIGHTNING, first="", then=IMPORTED_FIRST)
    words = output(program, "fit", "--trainer.callbacks.help=lightning_lde.LDECallback", folder=tmp_path)
    assert "A folder, ``s3://bucket/prefix``, or any URL that fsspec knows" in " ".join(words.split())
