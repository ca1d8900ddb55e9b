"""What a tracker adds to a Lightning step: the same small training with each of them, round by round."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import _bench as bench
from _counts import count_values

WORDS = {
    "bare": "nothing logged",
    "none": "logger=False",
    "null": "logger that does nothing",
    "lde": "LDE, logger=False",
    "lde-tap": "LDE beside that logger",
    "lde-log": "LDE, lightning_lde.log",
    "lde-idle": "LDE, nothing logged",
    "csv": "CSVLogger",
    "tensorboard": "TensorBoardLogger",
    "mlflow": "MLFlowLogger, sqlite",
    "wandb": "WandbLogger, offline",
    "trackio": "Trackio",
    "aim": "Aim",
}
NAMES = list(WORDS)
Measurement = dict[str, Any]


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "training")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each set-up")
    parser.add_argument("--steps", type=int, default=2000, help="steps of each training")
    parser.add_argument("--every", type=int, nargs="+", default=[1, 50], help="log_every_n_steps")
    parser.add_argument("--only", type=_names, default=NAMES, help="set-ups, with commas between: " + ",".join(NAMES))
    options = parser.parse_args(arguments)
    with bench.work_folder(options.folder) as work:
        result = {"benchmark": "training", **bench.setting(work), "steps": options.steps, "values_per_step": 10}
        measurements: list[Measurement] = []
        for every in options.every:
            measurements += _rounds(options, every, work)
        for every in options.every:
            _print(every, options.steps, [one for one in measurements if one["log_every_n_steps"] == every])
    bench.write(options.output, result | {"measurements": measurements})


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(NAMES):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def _rounds(options: argparse.Namespace, every: int, work: Path) -> list[Measurement]:
    """All set-ups once per round; each round begins with another one, so that none has a place of its own."""
    measurements: list[Measurement] = []
    left_out: set[str] = set()
    for number in range(options.rounds):
        shift = number * 5 % len(options.only)
        for setup in options.only[shift:] + options.only[:shift]:
            if setup in left_out:
                continue
            figures = _measure(setup, options.steps, every, work)
            if "error" in figures:
                left_out.add(setup)
            bench.console.print(f"every {every}, round {number + 1}: {WORDS[setup]}: {_brief(figures)}", style="dim")
            measurements.append({"setup": setup, "round": number, "log_every_n_steps": every, **figures})
    return measurements


def _measure(setup: str, steps: int, every: int, work: Path) -> Measurement:
    limit_s = 120 + steps * 0.2
    figures = bench.measure("_fit.py", setup, "--steps", steps, "--every", every, work=work, timeout_s=limit_s)
    if "error" not in figures:
        figures["bytes"] = bench.size_of(work / "run")
        figures["values_kept"] = count_values(setup, work / "run")
    shutil.rmtree(work / "run")
    return figures


def _brief(figures: Measurement) -> str:
    return figures.get("error") or f"{figures['wall_us_per_step']:,.0f} µs per step"


def _print(every: int, steps: int, measurements: list[Measurement]) -> None:
    good = _at_one_speed([one for one in measurements if "error" not in one])
    base = {one["round"]: one for one in good if one["setup"] == "none"}
    bare = {one["round"]: one for one in good if one["setup"] == "bare"}
    columns = "set-up|µs/step|CPU µs|added µs|added p50|ratio|range|to bare|set-up s|finish s|exit s|bytes|kept"
    rows = []
    for setup in dict.fromkeys(one["setup"] for one in good):
        of_setup = sorted((one for one in good if one["setup"] == setup), key=lambda one: one["round"])
        ratios = _against(of_setup, base, "wall_us_per_step", ratio=True)
        kept = bench.median(one["values_kept"] for one in of_setup if one["values_kept"] is not None)
        rows.append(
            (
                WORDS[setup],
                bench.median(one["wall_us_per_step"] for one in of_setup),
                bench.median(one["process_cpu_us_per_step"] for one in of_setup),
                bench.median(_against(of_setup, base, "wall_us_per_step")),
                bench.median(_against(of_setup, base, "step_p50_us")),
                _two(bench.median(ratios)),
                f"{min(ratios):.2f}-{max(ratios):.2f}" if ratios else None,
                _two(bench.median(_against(of_setup, bare, "wall_us_per_step", ratio=True))),
                *(bench.median(_against(of_setup, base, name)) for name in ("setup_s", "finish_s", "exit_s")),
                bench.median(one["bytes"] for one in of_setup),
                kept,
            )
        )
    bench.show(
        f"{steps:,} steps, 10 values per step, log_every_n_steps={every}, medians; "
        "added, ratio, set-up, finish and exit are against logger=False of the same round",
        columns.split("|"),
        rows,
    )
    for one in measurements:
        if "error" in one:
            bench.console.print(f"left out: {WORDS[one['setup']]}: {one['error']}")


def _at_one_speed(measurements: list[Measurement]) -> list[Measurement]:
    """Times of steps as they would be if the machine had been as fast all the time as it was in the median."""
    usual = bench.median(one["gauge_us"] for one in measurements) or 1.0
    return [
        one
        | {
            name: one[name] * usual / one["gauge_us"]
            for name in one
            if name.endswith("_us_per_step") or name == "step_p50_us"
        }
        for one in measurements
    ]


def _two(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _against(
    measurements: list[Measurement], base: dict[int, Measurement], name: str, *, ratio: bool = False
) -> list[float]:
    """Differences, or ratios, to the base of the same round."""
    pairs = [(one[name], base[one["round"]][name]) for one in measurements if one["round"] in base]
    return [ours / theirs if ratio else ours - theirs for ours, theirs in pairs]


if __name__ == "__main__":
    main()
