"""Checkpoints of a training and of a fine-tuning, stored: bytes and speed against whole files and physical limits."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
from pathlib import Path
from typing import Any

import _bench as bench
from _store import WAYS

KINDS = ("training", "fine-tuning")


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "objects")
    parser.add_argument("--width", type=int, default=512, help="of the transformer")
    parser.add_argument("--layers", type=int, default=6, help="of the transformer")
    parser.add_argument("--checkpoints", type=int, default=10, help="of each series")
    parser.add_argument("--steps", type=int, default=5, help="of the optimizer between two checkpoints")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each way")
    parser.add_argument("--only", help="ways, separated by commas")
    parser.add_argument("--dvc", default=shutil.which("dvc"), help="DVC's program")
    options = parser.parse_args(arguments)
    with bench.work_folder(options.folder) as work:
        series = [_series(kind, options, work) for kind in KINDS]
        result = {"benchmark": "objects", **bench.setting(work), "series": series}
    for one in series:
        _show(one)
    bench.write(options.output, result)


def _series(kind: str, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    folder = work / kind
    folder.mkdir()
    shape = ("--width", options.width, "--layers", options.layers)
    length = ("--checkpoints", options.checkpoints, "--steps", options.steps)
    facts = bench.measure("_series.py", kind, folder, *shape, *length, work=work, timeout_s=3600)
    names = [way for way in WAYS if _is_there(way, options)]
    found = [
        {"way": way, "round": number, **_measured(way, folder, options, work)}
        for number in range(options.rounds)
        for way in names[number % len(names) :] + names[: number % len(names)]
    ]
    shutil.rmtree(folder)
    return {"kind": kind, **facts, "found": found}


def _is_there(way: str, options: argparse.Namespace) -> bool:
    if options.only is not None and way not in options.only.split(","):
        return False
    if way in {"dvc", "md5 + copy"}:
        return (way == "dvc") == bool(options.dvc)
    return way != "mlflow" or importlib.util.find_spec("mlflow") is not None


def _measured(way: str, folder: Path, options: argparse.Namespace, work: Path) -> dict[str, Any]:
    dvc = ("--dvc", options.dvc) if way == "dvc" else ()
    found = bench.measure("_store.py", way, folder, *dvc, work=work, timeout_s=1800)
    shutil.rmtree(work / "run")
    return found


def _show(series: dict[str, Any]) -> None:
    if "error" in series:
        bench.console.print(f"{series['kind']}: {series['error']}")
        return
    rows = []
    for way in dict.fromkeys(one["way"] for one in series["found"]):
        every = [one for one in series["found"] if one["way"] == way]
        mine = [one for one in every if "error" not in one]
        if not mine:
            bench.console.print(f"{way}: {every[0]['error']}")
            continue
        given = sum(mine[0]["file_bytes"])
        rows.append((
            way,
            mine[0]["stored_bytes"][-1] / 1e6,
            mine[0]["stored_bytes"][-1] / given,
            bench.median(given / 1e6 / sum(one["seconds"]) for one in mine),
            bench.median(given / 1e6 / sum(one["cpu_s"]) for one in mine),
            bench.median(given / 1e6 / sum(one["copy_s"]) for one in mine if "copy_s" in one),
        ))  # fmt: skip
    rows.append(
        ("distinct tensors", series["distinct_bytes"] / 1e6, series["distinct_bytes"] / given, None, None, None)
    )
    size = f"{len(mine[0]['file_bytes'])} checkpoints, {given / 1e6:,.0f} MB in all"
    parameters, trained = series["parameters"] / 1e6, series["trained_parameters"] / 1e6
    bench.show(
        f"{series['kind']}: {size}, {parameters:.1f} M parameters of which {trained:.1f} M are trained",
        ("way", "MB stored", "of what was given", "MB/s", "MB per s of CPU", "MB/s read back"),
        rows,
    )


if __name__ == "__main__":
    main()
