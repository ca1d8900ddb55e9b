"""Modules that a program imports and no commit of its repository has: they are run again as they were."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_lde import Lake

from .conftest import git
from .test_scripts import again, check

PROGRAM = """
import importlib, sys
import pytorch_lightning as pl
from checkpoints.rates import HIGH
from common import Net, loader, trainer
from lightning_lde import LDECallback
from local_settings import SEED
from shared_tools import scaled

class Late(pl.Callback):
    def on_train_epoch_start(self, trainer, module):
        module.lr = importlib.import_module("imported_late").RATE

pl.seed_everything(SEED, verbose=False)
callback = LDECallback(sys.argv[1], project="scripts", system_metrics_every_s=None)
trainer(callback, Late()).fit(Net(lr=scaled(HIGH)), loader())
"""


@pytest.mark.slow
def test_ignored_modules_and_modules_from_elsewhere(
    repository: Path, tmp_path: Path, record: Callable[..., Lake], monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, ignored = tmp_path / "tools", repository / ".gitignore"
    tools.mkdir()
    (tools / "shared_tools.py").write_text("def scaled(rate):\n    return 2 * rate\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], str(tools)]))
    ignored.write_text(ignored.read_text() + "checkpoints/\nlocal_settings.py\nimported_late.py\n")
    (repository / "program.py").write_text(PROGRAM)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "second")
    (repository / "checkpoints").mkdir()
    (repository / "checkpoints" / "rates.py").write_text("HIGH = 0.1\n")
    (repository / "local_settings.py").write_text("SEED = 23\n")
    (repository / "imported_late.py").write_text("RATE = 0.03\n")
    lake = record(repository, "program.py", "lake")
    # What the run was made of is gone, and other things stand in its place.
    (repository / "checkpoints" / "rates.py").unlink()
    (repository / "local_settings.py").write_text("SEED = 24\n")
    (repository / "imported_late.py").write_text("RATE = 0.04\n")
    (tools / "shared_tools.py").write_text("raise SystemExit('this is not what was run')\n")
    check(again(lake, tmp_path / "again"), lake, points=12)
    [row] = lake.sql(
        "select untracked from code where code_id in (select code_id from runs where reproduces is null)"
    ).to_pylist()
    names = ["checkpoints/rates.py", "imported_late.py", "lde_elsewhere/shared_tools.py", "local_settings.py"]
    assert [file["path"] for file in json.loads(row["untracked"])] == names
    assert lake.sql("select count(distinct code_id) as n from runs").to_pylist() == [{"n": 1}]
