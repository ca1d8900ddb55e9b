"""Lakes away, slow, full or forbidden, clocks that jump: training goes on, the user is told, nothing is missing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lightning_lde import Lake, Recorder
from lightning_lde.cli import app
from lightning_lde.errors import RecordingWarning
from lightning_lde.lake import LakeStorage
from lightning_lde.testing import Fault, FaultKind, FaultyStore

HANG_S = 2.0  # a step that waits for the lake would wait for its time-outs
STEPS = 300


def steps_of(lake: Lake) -> list[int]:
    found: list[int] = lake.sql("select step from metrics where name = 'a' order by step").column("step").to_pylist()
    return found


def sync(*words: str) -> str:
    done = CliRunner().invoke(app, ["sync", *words])
    assert done.exit_code == 0, done.output
    return str(done.output)


def storage_words(options: dict[str, str]) -> list[str]:
    return [word for key, value in options.items() for word in ("--storage-option", f"{key}={value}")]


class Loop:
    """A training that logs; events come at the steps they are set to."""

    def __init__(self, recorder: Recorder, *, pause_s: float = 0.005) -> None:
        self.recorder = recorder
        self.pause_s = pause_s
        self.longest_s = 0.0

    def run(self, events: dict[int, Callable[[], object]], *, steps: int = STEPS) -> list[str]:
        """Train.

        Returns:
            What the user was told, in order.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.recorder.start_segment("fit")
            for step in range(steps):
                if step in events:
                    events[step]()
                began = time.perf_counter()
                self.recorder.log({"a": float(step), "b": 0.5}, step=step)
                self.longest_s = max(self.longest_s, time.perf_counter() - began)
                time.sleep(self.pause_s)
            self.complete = self.recorder.finish_segment("finished")
        return [str(warning.message) for warning in caught if issubclass(warning.category, RecordingWarning)]


def told_early_and_at_the_end(told: list[str]) -> None:
    """Once while it trains, once at its end with the command."""
    assert len(told) == 2, told
    assert "cannot be written now" in told[0]
    assert "lde sync" in told[1]


# Programs that end without tidying up, so that their spool is an orphan for `lde sync` ----------------------

HEAD = """
import os, sys, time, json, warnings
from lightning_lde.recording import Recorder, _recorder
from lightning_lde.lake import LakeStorage
told, longest = [], 0.0
_recorder.FINISH_PATIENCE_S = 1.0
warnings.simplefilter("always")
warnings.showwarning = lambda message, category, *_: told.append(str(message))

def train(recorder, steps=300, at=lambda step: None, pause_s=0.01):
    global longest
    recorder.start_segment("fit")
    for step in range(steps):
        at(step)
        began = time.perf_counter()
        recorder.log({"a": float(step), "b": 0.5}, step=step)
        longest = max(longest, time.perf_counter() - began)
        time.sleep(pause_s)
    complete = recorder.finish_segment("finished")
    print(json.dumps({"complete": complete, "told": told, "longest_s": longest, "run_id": recorder.run_id}), flush=True)
    os._exit(0)
"""


def start(program: str, *arguments: str, prefix: list[str] | None = None) -> subprocess.Popen[str]:
    command = [*(prefix or []), sys.executable, "-c", HEAD + program, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def outcome(process: subprocess.Popen[str]) -> dict[str, Any]:
    import json

    output, _ = process.communicate(timeout=120)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert found["longest_s"] < HANG_S
    return found


# A server of its own that comes and goes ------------------------------------------------------------------


class Server:
    """moto on one port, stopped and started again; what it held is gone then, as its memory is."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.options = {"key": "testing", "secret": "testing", "endpoint_url": self.endpoint}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(self.endpoint, timeout=1).close()
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.05)
            else:
                break

    def freeze(self) -> None:
        """Answer no more, as behind a network that swallows everything."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def check_credentials_after(self, requests: int) -> None:
        """Let everybody in for so many requests more; then only who is known, and nobody is."""
        request = urllib.request.Request(
            f"{self.endpoint}/moto-api/reset-auth",
            data=str(requests).encode(),
            headers={"Content-Type": "application/octet-stream"},
        )
        urllib.request.urlopen(request, timeout=10).close()

    def client(self) -> Any:
        import boto3

        keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", **keys)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


IN_BUCKET = """
options = dict(key="testing", secret="testing", endpoint_url=sys.argv[1])
recorder = Recorder(LakeStorage("s3://bucket/lake", options), project="p", flush_every_s=0.2)
def at(step):
    if step == 100:
        print("step 100", flush=True)
        sys.stdin.readline()
train(recorder, at=at, steps=500)
"""


@pytest.mark.s3
@pytest.mark.slow
def test_a_server_that_is_away_from_the_start_gets_everything_later(server: Server) -> None:
    program = IN_BUCKET.replace("sys.stdin.readline()", "pass").replace("steps=500", "steps=900")
    process = start(program, server.endpoint)
    found = outcome(process)
    assert not found["complete"]
    told_early_and_at_the_end(found["told"])
    server.start()
    server.client().create_bucket(Bucket="bucket")
    sync(*storage_words(server.options))
    lake = Lake("s3://bucket/lake", server.options)
    assert steps_of(lake) == list(range(900))
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]


@pytest.mark.s3
@pytest.mark.slow
def test_a_server_that_answers_no_more_at_the_end_gets_the_rest_later(server: Server) -> None:
    server.start()
    server.client().create_bucket(Bucket="bucket")
    process = start(IN_BUCKET, server.endpoint)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "step 100\n"
    time.sleep(0.5)
    server.freeze()
    process.stdin.write("\n")
    process.stdin.flush()
    found = outcome(process)
    assert not found["complete"]
    assert "lde sync" in found["told"][-1]
    assert len(found["told"]) <= 2
    server.thaw()
    sync(*storage_words(server.options))
    assert steps_of(Lake("s3://bucket/lake", server.options)) == list(range(500))


@pytest.mark.s3
@pytest.mark.slow
def test_a_server_that_is_away_for_a_while_gets_everything(server: Server, tmp_path: Path) -> None:
    server.start()
    server.client().create_bucket(Bucket="bucket")
    lake = Lake("s3://bucket/lake", server.options).create()
    recorder = Recorder(LakeStorage(lake.url, server.options), project="p", flush_every_s=0.2)
    loop = Loop(recorder, pause_s=0.01)
    told = loop.run({60: server.freeze, 300: server.thaw}, steps=500)
    assert loop.complete, told
    assert len(told) <= 1
    assert loop.longest_s < HANG_S
    assert steps_of(lake) == list(range(500))


@pytest.mark.s3
@pytest.mark.slow
def test_credentials_that_expire_keep_the_rest_for_a_sync_with_new_ones(server: Server) -> None:
    server.start()
    server.client().create_bucket(Bucket="bucket")
    process = start(IN_BUCKET, server.endpoint)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "step 100\n"
    time.sleep(0.5)
    server.check_credentials_after(0)
    process.stdin.write("\n")
    process.stdin.flush()
    found = outcome(process)
    assert not found["complete"]
    told_early_and_at_the_end(found["told"])
    server.check_credentials_after(1_000_000)
    sync(*storage_words(server.options))
    assert steps_of(Lake("s3://bucket/lake", server.options)) == list(range(500))


@pytest.mark.slow
def test_a_slow_lake_makes_no_step_wait(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    lake.storage.store = FaultyStore(lake.storage.store, lambda *_: Fault(FaultKind.DELAY, 0.1))
    loop = Loop(Recorder(lake.storage, project="p", flush_every_s=0.1))
    assert loop.run({}) == []
    assert loop.complete
    assert loop.longest_s < HANG_S
    assert steps_of(Lake(lake_path)) == list(range(STEPS))


def test_a_lake_that_is_away_in_the_middle_gets_everything(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    faulty = FaultyStore(lake.storage.store)
    lake.storage.store = faulty
    loop = Loop(Recorder(lake.storage, project="p", flush_every_s=0.1))
    told = loop.run({50: lambda: faulty.plan(lambda *_: Fault(FaultKind.BEFORE)), 200: faulty.heal})
    assert loop.complete
    assert told == []  # it was away for less time than a user need know of
    assert steps_of(Lake(lake_path)) == list(range(STEPS))


# Full disks -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"a small file system needs the right to mount: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


LOCAL = """
recorder = Recorder(sys.argv[1], project="p", flush_every_s=0.2)
def at(step):
    if step in (100, 400):
        print(f"step {step}", flush=True)
        sys.stdin.readline()
train(recorder, at=at, steps=700)
"""


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def reaches(process: subprocess.Popen[str], step: int) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"step {step}\n"


@pytest.mark.slow
def test_a_lake_on_a_full_disk_gets_the_rest_when_there_is_room(small_disk: Path) -> None:
    process = start(LOCAL, str(small_disk / "lake"))
    reaches(process, 100)
    time.sleep(0.3)
    ballast = fill(small_disk)
    go_on(process)
    reaches(process, 400)
    go_on(process)
    found = outcome(process)
    assert not found["complete"]
    told_early_and_at_the_end(found["told"])
    ballast.unlink()
    sync()
    assert steps_of(Lake(small_disk / "lake")) == list(range(700))


@pytest.mark.slow
def test_a_full_disk_for_the_spool_costs_nothing_while_the_lake_is_there(
    small_disk: Path, lake_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDE_SPOOL_DIR", str(small_disk / "spool"))
    process = start(LOCAL, str(lake_path))
    reaches(process, 100)
    fill(small_disk)
    go_on(process)
    reaches(process, 400)
    go_on(process)
    found = outcome(process)
    assert found["complete"], found
    assert steps_of(Lake(lake_path)) == list(range(700))


@pytest.mark.slow
def test_a_spool_that_is_full_for_a_while_costs_nothing(
    small_disk: Path, lake_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LDE_SPOOL_DIR", str(small_disk / "spool"))
    process = start(LOCAL, str(lake_path))
    reaches(process, 100)
    ballast = fill(small_disk)
    go_on(process)
    reaches(process, 400)
    ballast.unlink()
    go_on(process)
    found = outcome(process)
    assert found["complete"], found
    assert steps_of(Lake(lake_path)) == list(range(700))


@pytest.mark.slow
def test_a_full_disk_for_everything_is_said(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDE_SPOOL_DIR", str(small_disk / "spool"))
    process = start(LOCAL, str(small_disk / "lake"))
    reaches(process, 100)
    time.sleep(0.3)
    fill(small_disk)
    go_on(process)
    reaches(process, 400)
    go_on(process)
    found = outcome(process)
    assert not found["complete"]
    assert found["told"]
    assert "No space left" in " ".join(found["told"])


# Permissions ------------------------------------------------------------------------------------------------

# Root may write everywhere; a process without this capability may not.
WITHOUT_OVERRIDE = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(WITHOUT_OVERRIDE) and shutil.which("setpriv") is None, reason="root needs setpriv for this")
@pytest.mark.slow
def test_a_lake_that_may_not_be_written_keeps_the_rows_for_who_may(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake").create()
    (tmp_path / "lake").chmod(0o555)
    try:
        program = "train(Recorder(sys.argv[1], project='p', flush_every_s=0.2), steps=700)"
        found = outcome(start(program, lake.url, prefix=WITHOUT_OVERRIDE))
    finally:
        (tmp_path / "lake").chmod(0o755)
    assert not found["complete"]
    told_early_and_at_the_end(found["told"])
    assert "ermission denied" in found["told"][0]
    sync()
    assert steps_of(lake) == list(range(700))


# Clocks -----------------------------------------------------------------------------------------------------

CLOCK = """
import datetime, lightning_lde.schema as schema
shift_s = 0.0
real_time, real_ns = time.time, time.time_ns
time.time = lambda: real_time() + shift_s
time.time_ns = lambda: real_ns() + int(shift_s * 1e9)
def moved():
    return datetime.datetime.fromtimestamp(time.time(), datetime.timezone.utc)
for module in list(sys.modules.values()):
    if getattr(module, "__name__", "").startswith("lightning_lde") and hasattr(module, "utc_now"):
        module.utc_now = moved
def at(step):
    global shift_s
    if step == 100:
        shift_s = float(sys.argv[2])
train(Recorder(sys.argv[1], project="p", flush_every_s=0.2), at=at)
"""


@pytest.mark.parametrize(
    "shift_s", [-86_400.0, *(pytest.param(far, marks=pytest.mark.slow) for far in (86_400.0, -3.0e9))]
)
def test_a_clock_that_jumps_costs_no_point(lake_path: Path, shift_s: float) -> None:
    found = outcome(start(CLOCK, str(lake_path), str(shift_s)))
    assert (found["complete"], found["told"]) == (True, [])
    lake = Lake(lake_path)
    assert steps_of(lake) == list(range(300))
    assert lake.sql("select status from runs").to_pylist() == [{"status": "finished"}]


@pytest.mark.slow
def test_a_heartbeat_goes_on_after_the_clock_jumped_back(lake_path: Path) -> None:
    with_pause = CLOCK.replace("train(", "train(steps=400, recorder=").replace(", at=at)", ", at=at)")
    process = start(with_pause.replace("flush_every_s=0.2)", "flush_every_s=0.2)"), str(lake_path), "-3600")
    lake, seen = Lake(lake_path), 0
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        if (lake_path / "lde.json").exists():
            seen = max([seen, *steps_of(lake)])
        time.sleep(0.1)
    outcome(process)
    assert seen > 200  # rows of the time after the jump came while the run went on


def test_threads_that_log_while_the_lake_is_away_lose_nothing(lake_path: Path) -> None:
    lake = Lake(lake_path).create()
    faulty = FaultyStore(lake.storage.store, lambda *_: Fault(FaultKind.AFTER))
    lake.storage.store = faulty
    recorder = Recorder(lake.storage, project="p", flush_every_s=0.1)
    recorder.start_segment("fit")

    def work(name: str) -> None:
        for step in range(500):
            recorder.log({name: float(step)}, step=step)
            time.sleep(0.001)

    threads = [threading.Thread(target=work, args=(name,)) for name in "wxyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    faulty.heal()
    assert recorder.finish_segment("finished")
    counted = Lake(lake_path).sql("select name, count(*) as n, count(distinct step) as d from metrics group by name")
    assert sorted(map(tuple, (row.values() for row in counted.to_pylist()))) == [(name, 500, 500) for name in "wxyz"]
