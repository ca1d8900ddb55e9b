"""`lde erase`: words become ids, nothing goes without a yes, and what waits on this machine goes too."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lightning_lde import Lake, erasing
from lightning_lde.cli import app
from lightning_lde.errors import ConfigurationError, NodeNotFoundError, RunNotFoundError
from lightning_lde.recording import Rows, spool_root
from lightning_lde.recording._outbox import Outbox
from lightning_lde.recording._spool import SpoolHeader
from lightning_lde.schema import Dataset, Event, Record, Run, new_run_id, records_to_arrow, utc_now


@pytest.fixture
def lake(lake_path: Path) -> Lake:
    """Two runs, one of them on a data set of two versions of one name."""
    lake, now = Lake(lake_path).create(), utc_now()
    for name in ("wide", "deep"):
        run = Run(
            run_id=new_run_id(), segment=0, revision=0, project="p", name=name, status="finished", started_at=now,
            heartbeat_at=now, heartbeat_every_s=5.0,
        )  # fmt: skip
        rows: dict[str, list[Record]] = {"runs": [run], "events": [event(run.run_id, f"{name} began")]}
        for number, (table, records) in enumerate(rows.items()):
            lake.storage.append(
                table, records_to_arrow(table, records), project="p", day=now.date(), writer=run.run_id, first=number
            )
    versions = [Dataset(dataset_id=f"d{number}", name="digits", recorded_at=now) for number in range(2)]
    lake.storage.add_records("datasets", [*versions, replace(versions[0], dataset_id="e", name="other")], project="p")
    return lake


def event(run_id: str, message: str) -> Event:
    return Event(run_id=run_id, segment=0, time=utc_now(), level="info", kind="k", message=message)


def spool(lake: Lake, run_id: str, message: str) -> None:
    header = SpoolHeader(
        lake=lake.storage.absolute_url, project="p", day="2026-01-01", run_id=run_id, writer=new_run_id(), number=0
    )
    outbox = Outbox(spool_root(), header)
    outbox.add(Rows({"events": records_to_arrow("events", [event(run_id, message)])}))
    outbox.close()


def run(*words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["erase", *words], input=answer)


def names(lake: Lake) -> list[str]:
    return lake.sql("select name from runs order by name").column("name").to_pylist()


def test_nothing_goes_without_a_yes(lake: Lake) -> None:
    shown = run(lake.url, "--run", "wide", "--dry-run")
    assert "rows     1 of events, 1 of runs\n" in shown.output
    refused = run(lake.url, "--run", "wide", answer="n\n")
    assert refused.exit_code == 1
    assert names(lake) == ["deep", "wide"]
    assert lake.storage.receipts() == []
    done = run(lake.url, "--run", "wide", answer="y\n")
    assert done.exit_code == 0, done.output
    assert re.search(r"receipt: receipts/[0-9a-f-]{36}\.json", done.output)
    assert names(lake) == ["deep"]
    assert "asked run, runs 1" in CliRunner().invoke(app, ["log", lake.url]).output


def test_the_same_as_json(lake: Lake) -> None:
    preview = json.loads(run(lake.url, "--match", "wide began", "--dry-run", "--format", "json").output)
    assert (preview["rows"], preview["runs"]) == ({"events": 1}, [])
    done = json.loads(run(lake.url, "--match", "wide began", "--silent-for", "0", "--yes", "--format", "json").output)
    assert done["receipt"]["rows"]["events"]["count"] == 1
    assert done["receipt"]["id"] == lake.storage.receipts()[0].erasure_id
    again = json.loads(run(lake.url, "--match", "wide began", "--silent-for", "0", "--yes", "--format", "json").output)
    assert again == {"receipt": None, "spool_files": 0, "left": []}
    assert names(lake) == ["deep", "wide"]


def test_what_waits_on_this_machine_goes_too(lake: Lake) -> None:
    wide, elsewhere = lake.resolve_run("wide"), new_run_id()
    for run_id in (wide, elsewhere, lake.resolve_run("deep")):
        spool(lake, run_id, f"late word of {run_id}")
    done = run(lake.url, "--run", wide, "--run", elsewhere, "--yes")
    assert "deleted 2 files of this machine's spools" in done.output
    left = [path.read_bytes() for path in spool_root().rglob("*.spool")]
    assert len(left) == 1
    assert wide.encode() not in left[0]
    assert elsewhere.encode() not in left[0]


def test_a_text_that_waits_on_this_machine_is_sent_and_erased(lake: Lake) -> None:
    spool(lake, lake.resolve_run("deep"), "the password")
    done = run(lake.url, "--match", "the password", "--silent-for", "0", "--yes")
    assert done.exit_code == 0, done.output
    assert lake.storage.receipts()[0].rows["events"]["count"] == 1
    refused = run(lake.url, "--match", "began", "--yes")
    assert "ended just now" in str(refused.exception)
    assert list(spool_root().rglob("*.spool")) == []
    assert lake.sql("select message from events order by all").column("message").to_pylist() == [
        "deep began",
        "wide began",
    ]


def one_run(lake: Lake) -> Lake:
    run(lake.url, "--run", "wide", "--yes")
    return lake


def test_words_that_mean_nothing_or_too_much_are_said(lake: Lake) -> None:
    with pytest.raises(ConfigurationError, match="exactly one"):
        erasing.request_of(lake, runs=["wide"], match="x")
    with pytest.raises(ConfigurationError, match="exactly one"):
        erasing.request_of(lake)
    with pytest.raises(RunNotFoundError, match="no run 'nope'"):
        erasing.request_of(lake, runs=["nope"])
    with pytest.raises(NodeNotFoundError, match="means 2 data sets"):
        erasing.request_of(lake, datasets=["digits"])
    with pytest.raises(NodeNotFoundError, match="no data set"):
        erasing.request_of(lake, datasets=["nope"])
    for word in ("", lake.resolve_run("wide")[:7]):
        with pytest.raises((ConfigurationError, RunNotFoundError)):
            erasing.request_of(lake, runs=[word])
    with pytest.raises(ConfigurationError, match="too little"):
        erasing.request_of(one_run(lake), runs=[""])
    assert erasing.request_of(lake, datasets=["other", "d0"]).words == ("e", "d0")
    assert erasing.request_of(lake, runs=[unknown := new_run_id()]).words == (unknown,)
    assert "nothing to erase" in run(lake.url, "--match", "nowhere at all", "--dry-run").output


def test_a_text_that_a_process_at_work_still_holds_is_said(lake: Lake) -> None:
    header = SpoolHeader(
        lake=lake.storage.absolute_url, project="p", day="2026-01-01", run_id=new_run_id(), writer=new_run_id(),
        number=0,
    )  # fmt: skip
    outbox = Outbox(spool_root(), header)
    try:
        outbox.add(Rows({"events": records_to_arrow("events", [event(header.run_id, "the password")])}))
        outbox.seal()
        done = run(lake.url, "--match", "the password", "--yes")
        assert "holds the text, and waits to be sent by its process" in done.stderr
        assert len(list(spool_root().rglob("*.spool"))) == 1
    finally:
        outbox.close()
