"""Commands that only read a lake import neither torch nor Lightning."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest

from lightning_lde import Lake
from lightning_lde.cli import app
from lightning_lde.schema import (
    Artifact,
    Dataset,
    DatasetConfig,
    Embedding,
    Episode,
    Metric,
    Pipeline,
    PipelineConfig,
    Record,
    Run,
)

RUNS_PROGRAMS = {"reproduce"}
"""What compares this environment with a recorded one asks torch for its threads and GPUs."""

WORDS = {
    "init": ["LAKE"],
    "runs": ["LAKE"],
    "show": ["LAKE", "run 0"],
    "top": ["LAKE", "loss"],
    "compare": ["LAKE", "run 0", "run 1"],
    "lineage": ["LAKE", "run 0"],
    "data": ["history", "LAKE", "set 0"],
    "artifacts": ["LAKE", "run 0"],
    "get": ["LAKE", "run 0", "--output", "FOLDER"],
    "sql": ["LAKE", "select count(*) from metrics"],
    "diversity": ["LAKE"],
    "correlate": ["LAKE"],
    "variability": ["LAKE", "loss"],
    "plan": ["LAKE", "--metric", "loss"],
    "recommend": ["LAKE", "--metric", "episodes.accuracy", "--data-set", "set 0"],
    "report": ["LAKE", "--output", "PAGE"],
    "policy": ["LAKE"],
    "audit": ["LAKE"],
    "compact": ["LAKE"],
    "check": ["LAKE"],
    "migrate": ["LAKE"],
    "tier": ["LAKE"],
    "restore": ["LAKE", "run 0"],
    "gc": ["LAKE"],
    "log": ["LAKE"],
    "erase": ["LAKE", "--run", "run 0", "--dry-run"],
    "sync": ["SPOOL"],
}
PROGRAM = """
import json, sys
from lightning_lde.cli import app
for words in json.loads(sys.argv[1]):
    try:
        code = app.main(words, standalone_mode=False) or 0
    except SystemExit as end:
        code = end.code
    heavy = sorted({"torch", "pytorch_lightning", "lightning"} & {name.partition(".")[0] for name in sys.modules})
    print(json.dumps({"command": words[0], "code": code, "heavy": heavy}), file=sys.stderr)
"""


@pytest.fixture
def lake(lake_path: Path) -> Path:
    """Enough for every command to have an answer: four data sets with a diversity, two runs on each."""
    now = datetime(2026, 1, 1, tzinfo=timezone.utc)
    rows: dict[str, list[Record]] = {"runs": [], "metrics": [], "episodes": [], "datasets": []}
    rows["pipelines"] = [Pipeline(pipeline_id="pipeline", recorded_at=now, module_class="m.M")]
    rows["pipeline_configs"] = [PipelineConfig(pipeline_config_id="config", recorded_at=now, pipeline_id="pipeline")]
    for number in range(4):
        diversity = 0.1 * number
        rows["datasets"].append(
            Dataset(
                dataset_id=f"d{number}", name=f"set {number}", recorded_at=now, diversity=diversity,
                diversity_low=diversity, diversity_high=diversity, diversity_n_tasks=5, diversity_method="m",
                diversity_probe_id="probe",
            )
        )  # fmt: skip
    for number in range(8):
        run = Run(
            run_id=f"{number}", name=f"run {number}", segment=0, revision=0, project="p", status="finished",
            seed=number // 4, started_at=now, heartbeat_at=now, heartbeat_every_s=5.0, pipeline_config_id="config",
            summary={"loss": {"last": number**0.5}},
        )  # fmt: skip
        rows["runs"].append(run)
        rows["metrics"].append(Metric(run_id=run.run_id, segment=0, name="loss", step=0, time=now, value=number**0.5))
        rows["episodes"] += [
            Episode(
                run_id=run.run_id, segment=0, episode_id=f"{task}", method="maml", dataset_id=f"d{number % 4}",
                episode_seed=0, episode_index=task, classes=[0, 1], ways=2, shots=1, queries=1, loss=1.0,
                inner_steps=5 + 5 * task, accuracy=(number * 7 % 5) / 5 + task / 10,
            )
            for task in range(2)
        ]  # fmt: skip
    stored = Lake(lake_path).create().storage.put_object_bytes(b"x")
    rows["artifacts"] = [
        Artifact(run_id="0", segment=0, path="x", kind="other", size_bytes=1, object_id=stored, recorded_at=now)
    ]
    rows["dataset_configs"] = [
        DatasetConfig(
            dataset_config_id=f"tasks {number}", recorded_at=now, dataset_id=f"d{number}", settings={
                "ways": 2, "images_per_class": 4, "seed": 0,
            },
        )
        for number in range(4)
    ]  # fmt: skip
    rows["embeddings"] = [
        Embedding(
            dataset_id=f"d{number}", dataset_config_id=f"tasks {number}", recorded_at=now, task_seed=0, task_index=task,
            probe_id="probe", method="fisher-exact/l2=1.0", half=half, n_images=4,
            vector=[1.0 + (number + task * filters + half) % 5 for filters in range(7)],
        )
        for number in range(4) for task in range(3) for half in range(2)
    ]  # fmt: skip
    for table, records in rows.items():
        Lake(lake_path).create().storage.add_records(table, records, project="p")
    return lake_path


def test_each_command_that_reads_is_tried() -> None:
    assert set(WORDS) | RUNS_PROGRAMS == set(app.commands)


def test_reading_imports_no_torch(lake: Path, tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    places = {"LAKE": str(lake), "PAGE": str(tmp_path / "page.html"), "SPOOL": str(tmp_path / "spool")}
    places["FOLDER"] = str(tmp_path / "files")
    asked = [[command, *(places.get(word, word) for word in words)] for command, words in WORDS.items()]
    done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(asked)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stderr.splitlines() if line.startswith('{"command"')]
    assert told == [{"command": command, "code": 0, "heavy": []} for command in WORDS]
