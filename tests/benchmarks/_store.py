"""One way to store a series of checkpoints, measured: seconds of each, and the bytes that lie there afterwards."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import _bench as bench

_PIECE = 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=sorted(WAYS))
    parser.add_argument("series", type=Path, help="a folder of checkpoints")
    parser.add_argument("--dvc", help="DVC's program")
    options = parser.parse_args()
    files, root = sorted(options.series.glob("*.ckpt")), Path.cwd() / "stored"
    root.mkdir()
    os.environ["BENCH_DVC"] = options.dvc or ""
    store = WAYS[options.way](root)
    seconds, cpu, sizes = [], [], []
    for file in files:
        _read(file)
        began, began_cpu = time.perf_counter(), _cpu_s()
        store(file)
        seconds.append(time.perf_counter() - began)
        cpu.append(_cpu_s() - began_cpu)
        sizes.append(bench.size_of(root))
    figures: dict[str, object] = {
        "seconds": seconds, "cpu_s": cpu, "stored_bytes": sizes, "file_bytes": [one.stat().st_size for one in files],
    }  # fmt: skip
    if options.way == "lde":
        figures |= _read_back(root, files)
    bench.report(figures)


def _cpu_s() -> float:
    """Of this process and of programs that it has called."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _read(file: Path) -> None:
    """Bring a file into memory, so that the disk is not measured with what reads it first."""
    with file.open("rb") as opened:
        while opened.read(_PIECE):
            pass


def _lde(root: Path) -> Callable[[Path], None]:
    from lightning_lde.lake import LakeStorage

    storage = LakeStorage(root)
    storage.put_artifact(_small(root))

    def store(file: Path) -> None:
        storage.put_artifact(file)

    return store


def _small(root: Path) -> Path:
    """A file of some random bytes: what is imported for the first one is not measured."""
    path = root.parent / "small"
    path.write_bytes(os.urandom(1 << 18))
    return path


def _lde_whole(root: Path) -> Callable[[Path], None]:
    from lightning_lde.lake import LakeStorage

    storage = LakeStorage(root)

    def store(file: Path) -> None:
        storage.put_object(file)

    return store


def _copy(root: Path) -> Callable[[Path], None]:
    def store(file: Path) -> None:
        shutil.copyfile(file, root / file.name)

    return store


def _mlflow(root: Path) -> Callable[[Path], None]:
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{root.parent / 'mlflow.db'}")
    experiment = client.create_experiment("checkpoints", artifact_location=root.as_uri())
    run_id = client.create_run(experiment).info.run_id

    def store(file: Path) -> None:
        client.log_artifact(run_id, str(file))

    return store


def _dvc(root: Path) -> Callable[[Path], None]:
    program = os.environ["BENCH_DVC"]
    quiet = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    work = root.parent / "work"
    work.mkdir()
    settings = (["init", "--no-scm", "-q"], ["config", "cache.type", "hardlink"], ["config", "cache.dir", str(root)])
    for words in settings:
        subprocess.run([program, *words], cwd=work, env=quiet, check=True)

    def store(file: Path) -> None:
        # A training saves into the folder that DVC watches; DVC hashes the file and moves it into its cache.
        (work / "last.ckpt").unlink(missing_ok=True)
        os.link(file, work / "last.ckpt")
        subprocess.run([program, "add", "-q", "last.ckpt"], cwd=work, env=quiet, check=True)

    return store


def _md5_copy(root: Path) -> Callable[[Path], None]:
    def store(file: Path) -> None:
        digest = hashlib.md5(usedforsecurity=False)
        with file.open("rb") as opened:
            while piece := opened.read(_PIECE):
                digest.update(piece)
        target = root / digest.hexdigest()
        if not target.exists():
            shutil.copyfile(file, target)

    return store


def _sha256_write(root: Path) -> Callable[[Path], None]:
    def store(file: Path) -> None:
        digest = hashlib.sha256()
        with file.open("rb") as opened, (root / file.name).open("wb") as target:
            while piece := opened.read(_PIECE):
                digest.update(piece)
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())

    return store


def _zstd(root: Path) -> Callable[[Path], None]:
    import pyarrow as pa

    codec = pa.Codec("zstd", compression_level=1)

    def store(file: Path) -> None:
        with file.open("rb") as opened, (root / file.name).open("wb") as target:
            while piece := opened.read(16 * _PIECE):
                target.write(codec.compress(piece, asbytes=True))

    return store


WAYS: dict[str, Callable[[Path], Callable[[Path], None]]] = {
    "lde": _lde,
    "lde, whole files": _lde_whole,
    "copy": _copy,
    "mlflow": _mlflow,
    "dvc": _dvc,
    "md5 + copy": _md5_copy,
    "sha256 + write": _sha256_write,
    "zstd": _zstd,
}


def _read_back(root: Path, files: list[Path]) -> dict[str, object]:
    """Every checkpoint once more, verified as a whole, and the bytes of distinct tensors."""
    from lightning_lde.lake import LakeStorage

    storage, seconds = LakeStorage(root), []
    for file in files:
        stored = storage.put_artifact(file)
        began = time.perf_counter()
        storage.copy_object(stored.object_id, stored.recipe, root.parent / "copy")
        seconds.append(time.perf_counter() - began)
        if (root.parent / "copy").read_bytes() != file.read_bytes():
            raise RuntimeError(f"{file.name} came back as something else")
    return {"copy_s": seconds}


if __name__ == "__main__":
    main()
