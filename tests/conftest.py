"""Fixtures for all tests: a lake in a temporary folder and an S3 API server of its own process."""

from __future__ import annotations

import gc
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
for variable in ("LDE_URI", "LDE_PROJECT"):
    os.environ.pop(variable, None)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a script starts with `&` is deaf to Ctrl-C, and so would be the programs of the tests.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over what stays anyway: thousands of collected tests cost it half a second."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let libraries that count their objects at the end find none."""
    gc.unfreeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Say why a test that needs a GPU is not run."""
    if item.get_closest_marker("gpu") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


@dataclass(frozen=True)
class S3Server:
    """Address and credentials of a running server."""

    endpoint: str
    key: str = "testing"
    secret: str = "testing"

    @property
    def options(self) -> dict[str, str]:
        return {"key": self.key, "secret": self.secret, "endpoint_url": self.endpoint}

    def new_bucket(self) -> str:
        import boto3

        name = f"bucket-{uuid.uuid4().hex[:12]}"
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=name)
        return name


@pytest.fixture(autouse=True)
def own_spool(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spool of the test's own, so that no test sends what another one left."""
    folder = tmp_path_factory.mktemp("spool")
    monkeypatch.setenv("LDE_SPOOL_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True)
def same_signals() -> Iterator[None]:
    """How signals are handled after a test is how they were before it: a Trainer leaves its own ways behind."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        if handler is not None:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """moto's server on a free port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = S3Server(f"http://127.0.0.1:{port}")
    try:
        _wait_for(server.endpoint, process)
        yield server
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture
def bucket_url(s3_server: S3Server) -> str:
    """A lake's address in a new bucket."""
    return f"s3://{s3_server.new_bucket()}/team/lake"


@pytest.fixture
def lake_path(tmp_path: Path) -> Path:
    """Where a lake can be made."""
    return tmp_path / "lake"


def _wait_for(endpoint: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the S3 server ended with code {process.returncode}")
        try:
            urllib.request.urlopen(endpoint, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the S3 server did not start within 60 s")
