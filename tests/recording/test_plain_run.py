"""A run without Lightning."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_lde import Lake, Recorder


def test_a_with_block_is_a_finished_run(lake_path: Path) -> None:
    with Recorder(lake_path, project="p", name="plain", tags={"a": "b"}) as run:
        for step in range(10):
            run.log({"loss": 1 / (step + 1), "lr": 0.1}, step=step, context="train")
    row = Lake(lake_path).sql("select * from runs join environments using (environment_id)").to_pylist()[0]
    assert (row["run_id"], row["status"], row["name"], row["stage"]) == (run.run_id, "finished", "plain", "run")
    assert row["python"].startswith("CPython")
    assert Lake(lake_path).sql("select count(*) as n from metrics").to_pylist() == [{"n": 20}]


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("token=hf_" + "a" * 30), "failed"), (KeyboardInterrupt(), "interrupted")]
)
def test_an_error_passes_through_and_is_recorded(lake_path: Path, error: BaseException, status: str) -> None:
    run = Recorder(lake_path, project="p")
    run.start_segment("run")
    run.log({"a": 1.0})
    run.finish_segment("finished")
    with pytest.raises(type(error)), run:
        raise error
    row = Lake(lake_path).sql("select status, exception from runs").to_pylist()[0]
    assert row["status"] == status
    assert "hf_a" not in row["exception"]
    assert Lake(lake_path).sql("select * from metrics").num_rows == 1


def test_a_lake_that_is_away_does_not_replace_the_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="mine"), Recorder(tmp_path / "file" / "lake", project="p", on_error="raise"):
        raise ValueError("mine")


@pytest.mark.s3
def test_in_a_bucket(bucket_url: str, s3_server) -> None:
    with Recorder(bucket_url, project="p", storage_options=s3_server.options) as run:
        run.log({"a": 1.0}, step=0)
    assert Lake(bucket_url, s3_server.options).sql("select status from runs").to_pylist() == [{"status": "finished"}]
