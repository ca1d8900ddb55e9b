"""Lakes with many runs and their files, written at once, and what their files hold."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

from lightning_lde.lake import LakeStorage
from lightning_lde.schema import Artifact, Metric, PipelineConfig, Record, Run

LONG_AGO = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass
class Filled:
    """A lake, and what stands in the files of its runs.

    Attributes:
        storage: The lake.
        contents: By run and path.
        runs: The ids.
    """

    storage: LakeStorage
    contents: dict[tuple[str, str], bytes] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def check(self, *without: tuple[str, str]) -> None:
        """All files can be read, bit for bit, but some."""
        from lightning_lde import Lake

        lake = Lake(self.storage.url, self.storage.given_options)
        rows = lake.sql("select run_id, path, object_id, recipe from artifacts").to_pylist()
        assert {(row["run_id"], row["path"]) for row in rows} == set(self.contents)
        for row in rows:
            if (row["run_id"], row["path"]) not in without:
                found = lake.storage.get_object(row["object_id"], row["recipe"])
                assert found == self.contents[row["run_id"], row["path"]], row

    def tiers(self) -> dict[tuple[str, str], str]:
        """The tier of each file, as readers see it."""
        from lightning_lde import Lake

        lake = Lake(self.storage.url, self.storage.given_options)
        rows = lake.sql("select run_id, path, tier from artifacts").to_pylist()
        return {(row["run_id"], row["path"]): row["tier"] for row in rows}


def fill(
    storage: LakeStorage,
    n_runs: int,
    *,
    scratch: Path,
    size_bytes: int = 2000,
    statuses: tuple[str, ...] = ("finished",),
) -> Filled:
    """Runs of long ago, each with three checkpoints of which the second is best, a log, and a picture all have.

    Args:
        storage: The lake, empty.
        n_runs: How many.
        scratch: A folder for files on their way.
        size_bytes: Of a checkpoint; half of it is the same in those of one run.
        statuses: Of the runs, in turn.
    """
    chance = random.Random(n_runs)
    storage.initialise()
    filled = Filled(storage)
    rows: dict[str, list[Record]] = {"runs": [], "artifacts": [], "metrics": []}
    trainer = {"callback_settings": [{"class": "p.ModelCheckpoint", "settings": {"mode": "min"}}]}
    rows["pipeline_configs"] = [
        PipelineConfig(pipeline_config_id="config", recorded_at=LONG_AGO, pipeline_id="i", trainer=trainer)
    ]
    for number in range(n_runs):
        run_id = f"01990000-0000-7000-8000-{number:012d}"
        filled.runs.append(run_id)
        run = Run(
            run_id=run_id, segment=0, revision=0, project=f"p{number % 2}", name=f"run {number}",
            status=statuses[number % len(statuses)], started_at=LONG_AGO, ended_at=LONG_AGO, heartbeat_at=LONG_AGO,
            heartbeat_every_s=5.0, pipeline_config_id="config",
        )  # fmt: skip
        rows["runs"].append(run)
        rows["metrics"].append(
            Metric(run_id=run_id, segment=0, name="loss", step=0, time=LONG_AGO, value=float(number))
        )
        common = chance.randbytes(size_bytes // 2)
        files = {f"checkpoints/{step}.ckpt": common + chance.randbytes(size_bytes // 2) for step in range(3)}
        files |= {"log.txt": f"log of {number}\n".encode(), "picture.png": b"the same in all runs"}
        for at, (path, content) in enumerate(files.items()):
            filled.contents[run_id, path] = content
            rows["artifacts"].append(_stored(storage, scratch, run_id, path, content, at))
    for table, records in rows.items():
        storage.add_records(table, records, project="p")
    return filled


def _stored(storage: LakeStorage, scratch: Path, run_id: str, path: str, content: bytes, at: int) -> Artifact:
    source = scratch / "source"
    source.write_bytes(content)
    stored = storage.put_artifact(source)
    assert stored.object_id == hashlib.sha256(content).hexdigest()
    is_checkpoint = path.endswith(".ckpt")
    return Artifact(
        run_id=run_id, segment=0, path=path, kind="checkpoint" if is_checkpoint else "log", size_bytes=len(content),
        object_id=stored.object_id, recipe=stored.recipe, score=[0.5, 0.1, 0.9][at] if is_checkpoint else None,
        recorded_at=LONG_AGO + timedelta(seconds=at),
    )  # fmt: skip
