"""How fast values go in without Lightning, in how much memory, and how many bytes they take; every value is checked."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import _bench as bench
from _counts import count_values
from _values import KINDS, NAMES, checksum

WORDS = {
    "lde": "LDE, Recorder.log",
    "csv": "CSVLogger, save every 100",
    "tensorboard": "TensorBoard SummaryWriter",
    "mlflow": "MLflow sqlite, log_batch",
    "wandb": "W&B offline, log",
    "trackio": "Trackio, log",
    "trackio-bulk": "Trackio, bulk_log",
    "aim": "Aim, track",
}
PEERS = list(WORDS)
Measurement = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "ingest")
    parser.add_argument("--points", type=int, default=50_000_000, help="values of the long measurement")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="the first is the long one")
    parser.add_argument("--points-of-others", type=int, default=5_000_000, help="values of the other kinds")
    parser.add_argument("--points-of-peers", type=int, default=100_000, help="values that other trackers get")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each tracker")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="trackers to compare")
    options = parser.parse_args(arguments)
    for name in ("points", "points_of_others", "points_of_peers"):
        if getattr(options, name) < len(NAMES):
            parser.error(f"--{name.replace('_', '-')} must be {len(NAMES)} at least")
    with bench.work_folder(options.folder) as work:
        result = {"benchmark": "ingest", **bench.setting(work), "values_per_step": len(NAMES)}
        first, *others = options.kinds
        own = [_measure("lde", first, options.points, work)]
        own += [_measure("lde", kind, options.points_of_others, work) for kind in others]
        peers = _rounds(options, work)
    _show_own(own)
    _show_peers(peers)
    bench.write(options.output, result | {"recorder": own, "peers": peers})
    if lost := [one for one in own + peers if one.get("complete") is False]:
        sys.exit(f"values are missing or changed: {', '.join(one['store'] for one in lost)}")


def _rounds(options: argparse.Namespace, work: Path) -> list[Measurement]:
    measurements: list[Measurement] = []
    left_out: set[str] = set()
    for number in range(options.rounds):
        for store in options.peers:
            if store not in left_out:
                figures = _measure(store, "noisy", options.points_of_peers, work) | {"round": number}
                measurements.append(figures)
                if "error" in figures:
                    left_out.add(store)
    return measurements


def _measure(store: str, kind: str, points: int, work: Path) -> Measurement:
    steps = points // len(NAMES)
    options = ("--kind", kind, "--steps", steps)
    figures = bench.measure("_feed.py", store, *options, work=work, timeout_s=600 + points / 1000)
    if "error" not in figures:
        folder = work / "run"
        figures["bytes"] = bench.size_of(folder)
        figures["values_kept"] = count_values(store, folder)
        figures["complete"] = None if figures["values_kept"] is None else figures["values_kept"] == figures["points"]
        if store == "lde":
            figures["metric_bytes"] = sum(
                path.stat().st_size for path in folder.rglob("*.parquet") if "metrics" in path.parts
            )
            figures["complete"] = figures["complete"] and _checksums(folder) == figures["checksums"]
    shutil.rmtree(work / "run")
    shutil.rmtree(work / "spool")
    rate = f"{figures['points'] / figures['log_s']:,.0f} values/s" if "log_s" in figures else figures["error"]
    bench.console.print(f"{WORDS[store]}, {KINDS[kind]}, {points:,} values: {rate}", style="dim")
    return {"store": store, "kind": kind, **figures}


def _checksums(folder: Path) -> dict[str, str]:
    from lightning_lde import Lake

    lake = Lake(folder / "lake")
    sums = {}
    for name in NAMES:
        rows = lake.sql("select step, value from metrics where name = ?", [name])
        steps, values = (rows.column(column).to_numpy() for column in ("step", "value"))
        sums[name] = str(checksum(steps, values))
    return sums


def _show_own(measurements: list[Measurement]) -> None:
    columns = (
        "values|points|calls/s|with finish/s|whole/s|finish s|peak MB|from opened|from Python|bytes/point|complete"
    )
    rows = []
    for one in (one for one in measurements if "error" not in one):
        points = one["points"]
        rows.append(
            (
                KINDS[one["kind"]],
                points,
                points / one["log_s"],
                points / (one["log_s"] + one["finish_s"]),
                points / one["whole_s"],
                one["finish_s"],
                one["peak_mb"],
                _minus(one["peak_mb"], one["opened_mb"]),
                _minus(one["peak_mb"], one["before_import_mb"]),
                one["metric_bytes"] / points,
                "yes" if one["complete"] else "NO",
            )
        )
    title = "Recorder.log, 10 values per call; complete: count and bits of every value, read back from the lake"
    bench.show(title, columns.split("|"), rows)
    _show_errors(measurements)


def _show_peers(measurements: list[Measurement]) -> None:
    good = [one for one in measurements if "error" not in one]
    columns = "tracker|points|open s|calls/s|with finish/s|whole/s|exit s|bytes/point|kept"
    rows = []
    for store in dict.fromkeys(one["store"] for one in good):
        ones = [one for one in good if one["store"] == store]
        rows.append(
            (
                WORDS[store],
                ones[0]["points"],
                bench.median(one["open_s"] for one in ones),
                bench.median(one["points"] / one["log_s"] for one in ones),
                bench.median(one["points"] / (one["log_s"] + one["finish_s"]) for one in ones),
                bench.median(one["points"] / one["whole_s"] for one in ones),
                bench.median(one["exit_s"] for one in ones),
                bench.median(one["bytes"] / one["points"] for one in ones),
                bench.median(one["values_kept"] for one in ones if one["values_kept"] is not None),
            )
        )
    bench.show(
        "all trackers, noisy float32 values; medians; bytes are all that a tracker wrote", columns.split("|"), rows
    )
    _show_errors(measurements)


def _show_errors(measurements: list[Measurement]) -> None:
    for one in measurements:
        if "error" in one:
            bench.console.print(f"left out: {WORDS[one['store']]}: {one['error']}")


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


if __name__ == "__main__":
    main()
