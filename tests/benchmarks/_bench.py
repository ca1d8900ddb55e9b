"""What all benchmarks share: one process per measurement, facts of the machine, tables, JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS = ROOT / "docs" / "results"
PACKS = Path(os.environ.get("LDE_DATA_DIR", "data"))
PACKAGES = [
    "lightning-lde",
    "torch",
    "pytorch-lightning",
    "numpy",
    "pyarrow",
    "duckdb",
    "tensorboard",
    "mlflow",
    "wandb",
    "trackio",
    "aim",
    "sqlalchemy",
    "setuptools",
]

_FOREIGN = ("LDE_", "WANDB_", "MLFLOW_", "AIM_", "TRACKIO_", "PL_", "XDG_")
_QUIET = {
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PYTHONWARNINGS": "ignore",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}

console = Console(width=170, highlight=False, emoji=False, markup=False)


def parser(description: str | None, result: str) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has."""
    parsed = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False
    )
    parsed.add_argument("-o", "--output", type=Path, default=RESULTS / f"{result}.json", help="where the JSON goes")
    parsed.add_argument("--folder", type=Path, help="an existing folder on the disk to measure (default: temporary)")
    return parsed


@contextmanager
def work_folder(parent: Path | None) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=parent)).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(script: str, *options: object, work: Path, timeout_s: float) -> dict[str, Any]:
    """Run one measurement in a fresh process, in a fresh folder that it leaves behind for inspection.

    Args:
        script: A program of this folder; it writes its figures with `report`.
        options: Its command line.
        work: The benchmark's folder. The measurement's own is ``work / "run"``.
        timeout_s: When to give up.

    Returns:
        The figures, and ``exit_s`` from the program's stamp ``ended`` to the end of the process;
        or one key, ``error``.
    """
    run, spool, figures = work / "run", work / "spool", work / "figures.json"
    for folder in (run, spool):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    figures.unlink(missing_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    environment |= _QUIET | {
        "HOME": str(work),
        "LDE_SPOOL_DIR": str(spool),
        "TRACKIO_DIR": str(run / "trackio"),
        "BENCH_FIGURES": str(figures),
    }
    for threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(threads, "1")
    command = [sys.executable, str(HERE / script), *map(str, options)]
    try:
        done = subprocess.run(command, cwd=run, env=environment, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {timeout_s:.0f} s"}
    ended = time.perf_counter()
    if done.returncode or not figures.exists():
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        return {"error": _without_places(lines[-1], work)}
    found: dict[str, Any] = json.loads(figures.read_text())
    if "ended" in found:
        # Linux and macOS count perf_counter from one moment for all processes.
        found["exit_s"] = ended - found.pop("ended")
    found["left_in_spool_bytes"] = size_of(spool)
    return found


def report(figures: dict[str, Any]) -> None:
    """Hand the figures of a measurement to the benchmark that started it."""
    Path(os.environ["BENCH_FIGURES"]).write_text(json.dumps(figures))


def size_of(folder: Path, pattern: str = "*") -> int:
    """Bytes of the files below a folder, links not followed."""
    return sum(path.lstat().st_size for path in folder.rglob(pattern) if path.is_file() and not path.is_symlink())


def setting(work: Path) -> dict[str, Any]:
    """Date, commit, machine and versions; nothing that names the machine or its folders."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "machine": {
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "system": f"{platform.system()} {platform.release().split('-')[0]}",
            "file_system": _file_system(work),
            "load_before": round(os.getloadavg()[0], 2),
            "threads": os.environ.get("OMP_NUM_THREADS", "1"),
        },
        "versions": {"python": platform.python_version()} | {name: v for name in PACKAGES if (v := _version(name))},
    }


def write(path: Path, result: dict[str, Any]) -> None:
    """Keep the raw figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(_rounded(result), indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")
    console.print(f"raw figures: {path.name}")


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; the first column is words, the others are numbers."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else shown(cell) for cell in row))
    console.print(table)


def shown(value: object) -> str:
    """A number as people read it."""
    if not isinstance(value, (int, float)):
        return "-" if value is None else str(value)
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def median(values: Iterable[float]) -> float | None:
    """The median, None of nothing."""
    kept = list(values)
    return statistics.median(kept) if kept else None


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, (list, tuple)) else value


def _without_places(line: str, work: Path) -> str:
    for place in (str(work), str(ROOT), str(Path.home()), sys.prefix):
        line = line.replace(place, "…")
    return line[:300]


def _git(*question: str) -> str | None:
    try:
        done = subprocess.run(["git", *question], cwd=ROOT, capture_output=True, text=True, timeout=30)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        for line in facts.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _file_system(folder: Path) -> str | None:
    """The kind of file system, which decides what a sync to disk costs."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return None
    fields = [line.split() for line in mounts.read_text().splitlines()]
    places = [(Path(field[1]), field[2]) for field in fields if folder.is_relative_to(field[1])]
    return max(places, key=lambda place: len(place[0].parts))[1] if places else None
