"""How a large lake is compacted, how many bytes a point takes then, and how long questions to it take."""

from __future__ import annotations

import argparse
import dataclasses
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import _bench as bench
from _lake import METRICS, N_STEPS, make_lake

from lightning_lde.lake import LakeStorage

QUESTIONS = {
    "ranking": "ten best runs by their last val_acc on one data set, with lr and wd",
    "curve": "one curve of one run",
    "bulk": "all points of one metric of all runs, as Arrow",
}


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "lake")
    parser.add_argument("--runs", type=int, help="runs, 100,000 if it is not given; with --peers of each store")
    parser.add_argument("--rounds", type=int, default=5, help="processes that ask each question")
    parser.add_argument(
        "--peers", action="store_true", help="ask other trackers' stores instead, and lakes of their size"
    )
    options = parser.parse_args(arguments)
    if options.peers:
        _with_peers(options)
        return
    options.runs = options.runs or 100_000
    with bench.work_folder(options.folder) as work:
        result: dict[str, Any] = {"benchmark": "lake", **bench.setting(work), "runs": options.runs}
        result["points"] = options.runs * len(METRICS) * N_STEPS
        began = time.perf_counter()
        make_lake(work / "lake", options.runs)
        result["made_s"] = time.perf_counter() - began
        result["hot_bytes"] = bench.size_of(work / "lake")
        result |= _compacted(work / "lake")
        asked = []
        for number in range(options.rounds):
            for question in QUESTIONS:
                words = ("_ask.py", question, work / "lake")
                asked.append({"question": question, "round": number, **bench.measure(*words, work=work, timeout_s=600)})
    _show(result, asked)
    bench.write(options.output, result | {"asked": asked})


def _with_peers(options: argparse.Namespace) -> None:
    from _comparison import compare, show

    if options.output == bench.RESULTS / "lake.json":
        options.output = bench.RESULTS / "lake-peers.json"
    with bench.work_folder(options.folder) as work:
        result = {"benchmark": "lake --peers", **bench.setting(work), **compare(options, work)}
    show(result)
    bench.write(options.output, result)


def _compacted(lake: Path) -> dict[str, Any]:
    storage = LakeStorage(lake)
    began = time.perf_counter()
    done = storage.compact(silent_for=timedelta(0), grace=timedelta(0))
    compacted_s = time.perf_counter() - began
    cold = storage.snapshot().cold
    return {
        "compacted_s": compacted_s,
        "compaction": dataclasses.asdict(done),
        "cold_bytes": {table: sum(file.size_bytes for file in files) for table, files in cold.items()},
        "cold_files": {table: len(files) for table, files in cold.items()},
    }


def _show(result: dict[str, Any], asked: list[dict[str, Any]]) -> None:
    points = result["points"]
    bench.show(
        f"{result['runs']:,} runs, {points:,} points",
        ("made s", "compacted s", "points/s", "bytes/point", "metrics files", "all bytes"),
        [
            (
                result["made_s"],
                result["compacted_s"],
                points / result["compacted_s"],
                result["cold_bytes"]["metrics"] / points,
                result["cold_files"]["metrics"],
                sum(result["cold_bytes"].values()),
            )
        ],
    )
    rows = []
    for question, words in QUESTIONS.items():
        good = [one for one in asked if one["question"] == question and "error" not in one]
        rows.append(
            (
                words,
                *(bench.median(one[name] for one in good) for name in ("first_ms", "again_ms")),
                bench.median(one["rows"] for one in good),
            )
        )
    bench.show("milliseconds, medians", ("question", "first in a process", "again", "rows"), rows)
    for one in asked:
        if "error" in one:
            bench.console.print(f"left out: {one['question']}: {one['error']}")


if __name__ == "__main__":
    main()
