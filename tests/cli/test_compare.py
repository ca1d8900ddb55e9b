"""lde compare: a page that keeps its width whatever the values are, JSON, colours, and errors in one line."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from click.testing import CliRunner, Result
from pytorch_lightning.demos.boring_classes import BoringModel
from rich.cells import cell_len

from lightning_lde import Lake, LDECallback, Recorder
from lightning_lde.cli import app
from lightning_lde.cli._columns import blocks, cells, fair_widths, shortened
from lightning_lde.cli._comparison import print_comparison
from lightning_lde.query import compare_code, compare_runs
from lightning_lde.schema import Metric, Pipeline, PipelineConfig, Record, Run

HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\n\u202e[bold]日本語🎉\ud800"
LONG = "x" * 5_000_000


def lde(*words: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, ["compare", *map(str, words)], env={"LDE_URI": None, **(env or {})})


def page(*words: object, env: dict[str, str] | None = None) -> str:
    result = lde(*words, env=env)
    assert result.exception is None, result.output
    return result.stdout


def train(lake: Path, name: str, seed: int = 0, **hparams: Any) -> None:
    class Model(BoringModel):
        def __init__(self, **settings: Any) -> None:
            super().__init__()
            self.save_hyperparameters()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)["loss"]
            self.log("loss", loss + seed)
            return loss

    pl.seed_everything(seed, verbose=False)
    callback = LDECallback(lake, project="p", name=name, tags={HOSTILE: name}, system_metrics_every_s=None)
    trainer = pl.Trainer(
        callbacks=[callback], max_steps=3, limit_val_batches=0, accelerator="cpu", devices=1, logger=False,
        log_every_n_steps=1, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(Model(**hparams))


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LDE_SPOOL_DIR", str(folder / "spool"))
        train(folder / "lake", "one", **hparams_of("one"))
        train(folder / "lake", f"two {HOSTILE}{LONG[:500]}", seed=1, **hparams_of("two"))
    return folder / "lake"


@pytest.fixture(scope="module")
def large_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs, row by row, with five megabytes around what differs."""
    path = tmp_path_factory.mktemp("runs") / "lake"
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    rows: dict[str, list[Record]] = {table: [] for table in ("runs", "pipelines", "pipeline_configs", "metrics")}
    rows["pipelines"].append(Pipeline(pipeline_id="pipeline", recorded_at=now, module_class="Model"))
    for number, name in enumerate(("one", "two")):
        run = Run(
            run_id=f"0{number}", name=f"{name} {HOSTILE}{LONG[:500]}", segment=0, revision=1, project="p", seed=number,
            status="finished", started_at=now + timedelta(minutes=number), heartbeat_at=now, heartbeat_every_s=5.0,
            pipeline_config_id=name, tags={HOSTILE: name},
        )  # fmt: skip
        config = PipelineConfig(
            pipeline_config_id=name, recorded_at=now, pipeline_id="pipeline", hparams=hparams_of(name, long=LONG)
        )
        rows["runs"].append(run)
        rows["pipeline_configs"].append(config)
        rows["metrics"] += [
            Metric(run_id=run.run_id, segment=0, name="loss", context="train", step=step, time=now, value=step + number)
            for step in range(3)
        ]
    for table, records in rows.items():
        Lake(path).create().storage.add_records(table, records, project="p")
    return path


def hparams_of(name: str, long: str = LONG[:100]) -> dict[str, Any]:
    if name == "one":
        return {"depth": 3, "text": "3", "note": f"{long}a{long}", HOSTILE: 1}
    return {"depth": 3.0, "note": f"{long}b{long}", HOSTILE: HOSTILE}


def runs_of(lake: Path) -> list[str]:
    runs = json.loads(CliRunner().invoke(app, ["runs", str(lake), "--format", "json"]).stdout)
    return [run["run_id"] for run in reversed(runs)]


def section(text: str, title: str) -> list[str]:
    """The lines below the heading that begins so, up to the next empty line."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(title))
    end = next((number for number, line in enumerate(lines) if number > start and not line), len(lines))
    return lines[start + 1 : end]


@pytest.mark.parametrize("options", [[], ["--all"]])
def test_hostile_names_and_ten_megabytes(large_lake: Path, options: list[str]) -> None:
    text = page(large_lake, *runs_of(large_lake), *options)
    assert max(map(cell_len, text.splitlines())) <= 100
    assert all(character.isprintable() or character == "\n" for character in text)
    parameters = section(text, "parameters")
    assert any(re.fullmatch(r"  depth +3 +3\.0", line) for line in parameters)
    assert any(re.fullmatch(r"  text +\"3\" +–", line) for line in parameters)
    [note] = [line for line in parameters if line.startswith("  note")]
    first, second = note.split()[1:]
    # The values are equal for five million characters; what is seen of them is not.
    assert "xax" in first
    assert "xbx" in second


def test_only_what_differs(lake: Path) -> None:
    text = page(lake, *runs_of(lake))
    assert "batch_size" not in text
    assert "packages" in text.splitlines()[-1] or "packages" in text.splitlines()[-2]
    assert section(text, "seeds")[-1].split() == ["torch_initial_seed", "0", "1"]
    everything = page(lake, *runs_of(lake), "--all")
    assert "batch_size" in everything
    assert "equal and not shown" not in everything
    assert any(line.split()[:1] == ["numpy"] for line in section(everything, "packages"))


def test_metrics_have_their_numbers_and_n(lake: Path) -> None:
    text = page(lake, *runs_of(lake), "--window", "2")
    lines = section(text, "metrics, 1 differ")
    [last] = [line for line in lines if line.startswith("    last")]
    assert last.count("@") == 2
    [mean] = [line for line in lines if line.startswith("    mean of last 2")]
    assert len(re.findall(r"± \S+ \(n=2\)", mean)) == 2
    assert "says nothing of what another run" in text


def test_json_has_all_values(lake: Path, large_lake: Path) -> None:
    found = json.loads(page(large_lake, *runs_of(large_lake), "--format", "json"))
    facts = {fact["key"]: fact["values"] for part in found["sections"] for fact in part["facts"]}
    assert facts["depth"] == [{"type": "int", "value": 3}, {"type": "float", "value": 3.0}]
    assert facts["note"][1] == {"type": "str", "value": f"{LONG}b{LONG}"}
    assert facts["text"] == [{"type": "str", "value": "3"}, {"type": "missing"}]
    assert [metric["name"] for metric in found["metrics"]] == ["loss"]
    assert found["metrics"][0]["curves"][0]["n_common"] == 3
    assert "batch_size" in page(lake, *runs_of(lake), "--format", "json", "--all")


def test_errors_are_one_line(lake: Path, tmp_path: Path) -> None:
    one, two = runs_of(lake)
    for words, message in (
        ([lake, one], "got 1 run"),
        ([lake], "got 0 runs"),
        ([lake, one, one], "are one run"),
        ([lake, one, "nothing"], "no run 'nothing'"),
        ([lake, one, one[:4]], "means 2 runs"),
        ([tmp_path / "none", one, two], "no folder"),
        ([lake, one, two, "--tolerance", "2"], "tolerance=2.0"),
        ([lake, one, two, "--tolerance", "nan"], "tolerance=nan"),
        ([lake, one, two, "--absolute-tolerance", "-1"], "absolute_tolerance=-1"),
    ):
        result = lde(*words)
        assert message in str(result.exception)
    done = subprocess.run(
        [sys.executable, "-m", "lightning_lde.cli", "compare", str(lake), one, one], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert lde().exit_code == 2


def test_the_variable_stands_for_the_url(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = runs_of(lake)
    assert "parameters" in page(one, two, env={"LDE_URI": str(lake)})
    assert "parameters" in page(lake, one, two, env={"LDE_URI": "/nowhere"})
    assert "no folder" in str(lde(one, two, "x").exception)


def test_colours_on_a_terminal_only(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["compare", str(lake), *runs_of(lake)]

    def on_terminal() -> str:
        ours, theirs = pty.openpty()
        # A terminal holds a few kilobytes; who writes more waits for a reader.
        with ThreadPoolExecutor(1) as pool:
            told = pool.submit(read_to_the_end, ours)
            with os.fdopen(theirs, "w") as terminal, contextlib.redirect_stdout(terminal):
                app.main(words, standalone_mode=False)
            return told.result(60)

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[1m" in on_terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = on_terminal()
    assert "parameters" in plain
    assert "\x1b" not in plain


def read_to_the_end(terminal: int) -> str:
    with os.fdopen(terminal, "rb", buffering=0) as file:
        read = b""
        # Linux ends what comes from a closed terminal with an error.
        with contextlib.suppress(OSError):
            while part := file.read(65536):
                read += part
        return read.decode()


def test_many_runs_and_many_metrics_stay_in_their_columns(tmp_path: Path) -> None:
    names = [f"run {number}" for number in range(7)]
    for number, name in enumerate(names):
        tags = {"number": str(number)}
        with Recorder(tmp_path / "lake", project="p", name=name, tags=tags, system_metrics_every_s=None) as run:
            run.log({f"metric {index} {'long ' * 30}": index + number / 7 for index in range(30)}, step=1)
            run.log({"loss": 1 / (number + 1)}, step=1)
            run.log({"loss": 1 / (number + 2)}, step=2)
    text = page(tmp_path / "lake", *names)
    assert max(map(cell_len, text.splitlines())) <= 100
    assert "… 11 more metrics: --all shows them" in text
    numbers = [line.split() for line in section(text, "command and tags")]
    shown = [word for line in numbers if line[0] == "tags.number" for word in line[1:]]
    assert shown == [f'"{number}"' for number in range(7)]
    lasts = [line for line in section(text, "metrics") if line.startswith("    last")]
    assert sum(line.count("@2") for line in lasts) == 7


def test_a_run_of_which_little_is_known(tmp_path: Path) -> None:
    train(tmp_path / "lake", "trained", depth=3)
    with Recorder(tmp_path / "lake", project="p", name="by hand", system_metrics_every_s=None):
        pass
    text = page(tmp_path / "lake", "trained", "by hand")
    assert "nothing was recorded for B" in text
    assert "batch_size" not in text
    assert section(text, "trainer") == []


def test_shortened_in_the_middle() -> None:
    for width in range(3, 30):
        for words in ("a" * 40, "日本語" * 10, "🎉a" * 15, "é" * 50):
            assert cell_len(shortened(words, width)) <= width
    assert shortened("short", 5) == "short"


def test_cells_that_differ_look_different() -> None:
    for place in (0, 1, 50, 98, 99):
        values = ["y" * 100, "y" * place + "z" + "y" * (99 - place)]
        for width in (11, 20, 40):
            one, other = cells(values, width)
            assert one != other
            assert max(len(one), len(other)) <= width
    assert cells([1, 1.0, "1"], 11) == ["1", "1.0", '"1"']
    at_two_places = cells([list(range(1000)), [*range(999), -1], [*range(500), *range(501, 1001)]], 12)
    unprintable = cells(["a\x1b", "a\x00", "a"], 12)
    for shown in (at_two_places, unprintable):
        assert len(set(shown)) == 3
        assert max(map(len, shown)) <= 12
        assert all(map(str.isprintable, shown))


def test_widths_are_shared_fairly() -> None:
    assert fair_widths([3, 3], 100) == [3, 3]
    assert sum(fair_widths([90, 5, 90, 90], 100)) <= 100
    assert fair_widths([90, 5, 90], 45) == [20, 5, 20]
    assert blocks([200, 5], 50) == [[0], [1]]


def test_what_is_missing_for_a_diff_is_said_within_the_width(lake: Path, tmp_path: Path) -> None:
    rows = [{"commit": letter * 40, "dirty": False, "diff": None} for letter in "ab"]
    folder = tmp_path / ("long name " * 20)
    folder.mkdir()
    comparison = compare_runs(Lake(lake), runs_of(lake))
    code = compare_code(*rows, repository=folder)
    with CliRunner().isolation() as (out, *_):
        print_comparison(replace(comparison, code=(code,)), everything=False)
        text = out.getvalue().decode()
    assert "is in no git repository" in " ".join(text.split())
    assert max(map(cell_len, text.splitlines())) <= 100
