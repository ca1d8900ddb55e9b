"""Programs of many styles are run again with the same result, to the last bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.reproduce import Outcome, plan_reproduction, reproduce

from .conftest import git, only_run

Record = Callable[..., Lake]


def again(lake: Lake, folder: Path, run: str | None = None, **options: object) -> Outcome:
    """Reproduce the run that was recorded last."""
    plan = plan_reproduction(lake, run or only_run(lake), **options)  # type: ignore[arg-type]
    assert not plan.obstacles
    return reproduce(lake, plan, folder, timeout_s=200)


def check(outcome: Outcome, lake: Lake, *, points: int) -> None:
    """Nothing differs, by the code's word and by looking at the rows."""
    assert (outcome.verdict.sentence, outcome.exit_code) == ("identical", 0), (outcome, output(outcome))
    assert outcome.verdict.n_points == points
    assert outcome.causes == ()
    assert outcome.data == ()
    rows = lake.sql("select run_id, weights_start_id, weights_end_id, code_id, reproduces from runs").to_pylist()
    new = next(row for row in rows if row["run_id"] == outcome.run_id)
    old = next(row for row in rows if row["run_id"] == new["reproduces"])
    assert new["weights_end_id"] == old["weights_end_id"]
    curves = {
        run: lake.sql(
            """select name, context, dataloader_idx, step, value from metrics
               where run_id = ? and context is distinct from 'system' order by all""",
            [run],
        )
        for run in (new["run_id"], old["run_id"])
    }
    if points == curves[new["run_id"]].num_rows:
        assert repr(curves[new["run_id"]].to_pylist()) == repr(curves[old["run_id"]].to_pylist())
    edges = lake.sql("select target_id from links where relation = 'reproduces' and source_id = ?", [new["run_id"]])
    assert edges.to_pylist() == [{"target_id": old["run_id"]}]


def output(outcome: Outcome) -> str:
    return "\n".join(outcome.notes)


@pytest.mark.slow
def test_an_unseeded_program(repository: Path, tmp_path: Path, record: Record) -> None:
    lake = record(repository, "unseeded.py", "lake")
    outcome = again(lake, tmp_path / "again")
    check(outcome, lake, points=12)
    assert any(note.startswith("random states restored as segment 0 began: python, numpy") for note in outcome.notes)
    # The other way round: started by hand, it is another training.
    record(repository, "unseeded.py", "lake")
    ends = lake.sql("select count(distinct weights_end_id) as n from runs").to_pylist()
    assert ends == [{"n": 2}]


@pytest.mark.slow
def test_a_program_without_git(project: Path, tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    lake = record(project, "raw_loaders.py", "lake")
    (project / "common.py").write_text("raise SystemExit('this is not what was run')\n")
    check(again(lake, tmp_path / "again"), lake, points=12)


HELPED = """
import importlib, sys
import pytorch_lightning as pl
import yaml
from common import Net, loader, trainer
from local_helper import RATES
from shared_tools import scaled

class Late(pl.Callback):
    def on_train_epoch_start(self, trainer, module):
        module.lr = importlib.import_module("imported_late").RATE

settings = yaml.safe_load(open(sys.argv[2].partition("=")[2]))
pl.seed_everything(settings["seed"], verbose=False)
from lightning_lde import LDECallback
callback = LDECallback(sys.argv[1], project="scripts", system_metrics_every_s=None)
trainer(callback, Late()).fit(Net(lr=scaled(RATES[settings["rate"]])), loader())
"""


@pytest.mark.slow
def test_a_program_without_git_with_modules_and_settings(
    project: Path, tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "shared_tools.py").write_text("def scaled(rate):\n    return 2 * rate\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.environ["PYTHONPATH"], str(tools)]))
    (project / "helped_by_file.py").write_text(HELPED)
    (project / "local_helper.py").write_text("RATES = {'low': 0.01, 'high': 0.1}\n")
    (project / "imported_late.py").write_text("RATE = 0.03\n")
    (project / "settings").mkdir()
    (project / "settings" / "run.yaml").write_text("seed: 23\nrate: low\n")
    lake = record(project, "helped_by_file.py", "lake", "--config=settings/run.yaml")
    # What the run was made of is gone, and other things stand in its place.
    (project / "local_helper.py").unlink()
    (project / "imported_late.py").unlink()
    (project / "settings" / "run.yaml").write_text("seed: 24\nrate: high\n")
    (tools / "shared_tools.py").write_text("raise SystemExit('this is not what was run')\n")
    check(again(lake, tmp_path / "again"), lake, points=12)
    [row] = lake.sql("select distinct untracked from code").to_pylist()
    names = ["common.py", "helped_by_file.py", "imported_late.py", "lde_elsewhere/shared_tools.py", "local_helper.py"]
    kept = [file["path"] for file in json.loads(row["untracked"])]
    assert set(kept) == {*names, "settings/run.yaml"}


@pytest.mark.slow
def test_the_command_says_what_it_does_and_asks(repository: Path, tmp_path: Path, record: Record) -> None:
    (repository / "helper.py").write_text("RATE = 0.02\n")
    program = repository / "helped.py"
    program.write_text(program.read_text().replace("seed_everything(17", "seed_everything(170"))
    lake = record(repository, "helped.py", "lake")
    run = only_run(lake)
    git(repository, "checkout", "-q", "helped.py")
    (repository / "helper.py").unlink()

    def lde(*words: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "lightning_lde.cli", "reproduce", "lake", run, *words]
        return subprocess.run(command, cwd=repository, input=answer, capture_output=True, text=True, timeout=250)

    shown = lde("--dry-run")
    assert shown.returncode == 0
    assert "python helped.py lake" in shown.stdout
    assert "lines of uncommitted changes, 1 files from the snapshot" in shown.stdout
    refused = lde(answer="n\n")
    assert refused.returncode == 130
    assert lake.sql("select count(*) as n from runs").to_pylist() == [{"n": 1}]
    folder = tmp_path / "kept"
    done = lde("--yes", "--format", "json", "--folder", str(folder))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["outcome"]["verdict"]["sentence"] == "identical"
    assert found["outcome"]["verdict"]["weights_end"] is True
    codes = lake.sql("select count(distinct code_id) as codes from runs").to_pylist()
    assert codes == [{"codes": 1}]
    assert (folder / "code" / "helper.py").read_text() == "RATE = 0.02\n"
    assert git(repository, "status", "--porcelain") == ""


STYLES = {
    "raw_loaders": (["raw_loaders.py", "lake"], 12),
    "datamodule": (["datamodule.py", "lake"], 15),
    "subset": (["subset.py", "lake"], 10),
    "iterable": (["iterable.py", "lake"], 10),
    "manual": (["manual.py", "lake"], 12),
    "no_hparams": (["no_hparams.py", "lake"], 12),
    "nested": (["nested.py", "lake", "optimizer.lr=0.03"], 12),
    "bf16": (["bf16.py", "lake"], 12),
    "torch_seed": (["torch_seed.py", "lake"], 12),
    "workers": (["workers.py", "lake"], 6),
    "accumulation": (["accumulation.py", "lake"], 4),
    "several_metrics": (["several_metrics.py", "lake"], 46),
    "module": (["-m", "pack.train", "lake"], 12),
    "options": (["-X", "utf8", "-u", "raw_loaders.py", "lake"], 12),
    "without_lightning": (["without_lightning.py", "lake"], 10),
    "command_line": (["command_line.py", "lake", "fit", "--config", "command_line.yaml", "--model.lr=0.05"], 6),
}


@pytest.mark.slow
@pytest.mark.parametrize("style", STYLES)
def test_styles(repository: Path, tmp_path: Path, record: Record, style: str) -> None:
    words, points = STYLES[style]
    lake = record(repository, *words)
    check(again(lake, tmp_path / "again"), lake, points=points)


WITHOUT_GIT = {**STYLES, "unseeded": (["unseeded.py", "lake"], 12), "resumed": (["resumed.py", "lake"], 18)}


@pytest.mark.slow
@pytest.mark.parametrize("style", WITHOUT_GIT)
def test_styles_without_git(
    project: Path, tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch, style: str
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.chdir(project)
    words, points = WITHOUT_GIT[style]
    lake = record(project, *words)
    check(again(lake, tmp_path / "again"), lake, points=points)


@pytest.mark.slow
def test_zero_code(repository: Path, tmp_path: Path, record: Record) -> None:
    lake = record(repository, "zero_code.py", LDE_URI="lake", LDE_PROJECT="p", LDE_NAME="n")
    check(again(lake, tmp_path / "again"), lake, points=8)


@pytest.mark.slow
def test_text_of_python(repository: Path, tmp_path: Path, record: Record) -> None:
    lake = record(repository, "-c", "import raw_loaders", "lake")
    check(again(lake, tmp_path / "again"), lake, points=12)


@pytest.mark.slow
def test_started_in_a_folder_below(repository: Path, tmp_path: Path, record: Record) -> None:
    lake = record(repository / "pack", "../raw_loaders.py", "../lake")
    del lake
    lake = Lake(repository / "lake")
    check(again(lake, tmp_path / "again"), lake, points=12)


@pytest.mark.slow
def test_resumed_within_a_program(repository: Path, tmp_path: Path, record: Record) -> None:
    lake = record(repository, "resumed.py", "lake")
    before = lake.sql("select count(*) as n from runs").to_pylist()
    outcome = again(lake, tmp_path / "again")
    check(outcome, lake, points=18)
    assert before == [{"n": 1}]
    assert lake.sql("select count(*) as n from runs").to_pylist() == [{"n": 2}]


@pytest.mark.slow
def test_resumed_from_another_process(repository: Path, tmp_path: Path, record: Record) -> None:
    record(repository, "resumed_elsewhere.py", "lake", "first.ckpt")
    lake = record(repository, "resumed_elsewhere.py", "lake", "first.ckpt")
    run = only_run(lake)
    points = lake.sql("select count(*) as n from metrics where run_id = ?", [run]).to_pylist()
    outcome = again(lake, tmp_path / "again", links=["first.ckpt"])
    # What its last process did is run again, and the run itself stays as it is.
    assert outcome.verdict.sentence == "identical"
    assert outcome.verdict.n_points == 6
    assert lake.sql("select count(*) as n from metrics where run_id = ?", [run]).to_pylist() == points == [{"n": 12}]


@pytest.mark.slow
def test_each_of_several_runs(repository: Path, tmp_path: Path, record: Record) -> None:
    lake = record(repository, "several_runs.py", "lake")
    runs = lake.sql("select run_id from runs order by number_in_process").column("run_id").to_pylist()
    for number, (run, points) in enumerate(zip(runs, (3, 5), strict=True)):
        outcome = again(lake, tmp_path / f"again {number}", run)
        assert (outcome.verdict.sentence, outcome.verdict.n_points) == ("identical", points)


@pytest.mark.slow
def test_one_cell_of_a_study(repository: Path, tmp_path: Path, record: Record) -> None:
    source = Path(__file__).parent.parent.parent / "tasks" / "study.py"
    (repository / "study.py").write_text(source.read_text())
    git(repository, "add", "study.py")
    git(repository, "commit", "-q", "-m", "study")
    numbers = ("width=4", "meta_steps=2", "meta_batch=2", "queries=3", "pretraining_steps=3", "test_episodes=4")
    words = [word for number in numbers for word in ("--set", number)]
    lake = record(repository, "study.py", "lake", "--dataset", "greek", "--jobs", "2", *words)
    run = lake.sql("select run_id from runs where tags->>'algorithm' = 'maml-higher-order'").to_pylist()[0]["run_id"]
    outcome = again(lake, tmp_path / "again", run)
    assert outcome.verdict.sentence == "identical", output(outcome)
    assert {metric.context for metric in outcome.verdict.metrics} == {"train", "test", "episodes"}
    assert lake.sql("select count(*) as n from runs").to_pylist() == [{"n": 4}]
