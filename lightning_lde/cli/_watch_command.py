"""Subcommand diversity watch: the diversity of a folder that fills, batch by batch."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightning_lde.cli._arguments import duration
from lightning_lde.cli._output import print_json, text

if TYPE_CHECKING:
    from lightning_lde.collecting import FolderWatch, WatchedBatch
    from lightning_lde.diversity import KindScore, MonitorReport

PLATEAU = 3
"""Exit code where diversity has stopped growing and ``--until-plateau`` was given."""

_NAMED = 8


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--state", type=click.Path(path_type=Path), help="File of what was done; FOLDER.diversity without it.")
@click.option("--probe", default="random", show_default=True, metavar="FILE|random[:SEED]", help="What embeds images.")
@click.option("--size", default=32, show_default=True, help="Height and width that the probe sees, pixels.")
@click.option("--batch", default=64, show_default=True, help="Images of a batch; fewer wait for more.")
@click.option("--images", default=8, show_default=True, help="Images of a class that make an observation.")
@click.option("--growth", default=0.7, show_default=True, help="Share of batches that bring news while data grow.")
@click.option("--resolution", default=0.0, show_default=True, help="Distance up to which two kinds count as one.")
@click.option("--expect", multiple=True, metavar="CLASS[=SHARE]", help="A class that there should be; repeat it.")
@click.option(
    "--every", type=duration, metavar="DURATION", default="10s", show_default=True, help="Pause between looks."
)
@click.option(
    "--settle", type=duration, metavar="DURATION", default="2s", show_default=True, help="Leave younger files."
)
@click.option("--once", is_flag=True, help="Look once, say how things stand, and end.")
@click.option(
    "--until-plateau", is_flag=True, help=f"End with exit code {PLATEAU} where diversity has stopped growing."
)
@click.option(
    "--rank",
    "pool",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Rank this folder's kinds by what they would add.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: each batch, and how things stand.")
def watch(
    folder: Path,
    state: Path | None,
    probe: str,
    size: int,
    batch: int,
    images: int,
    growth: float,
    resolution: float,
    expect: tuple[str, ...],
    every: timedelta,
    settle: timedelta,
    pool: Path | None,
    *,
    once: bool,
    until_plateau: bool,
    as_json: bool,
) -> None:
    """Watch the diversity of a FOLDER that fills with images, arrays or data packs, until Ctrl-C.

    Folders in it name classes. What is there is embedded once, also over several watches.
    """
    from lightning_lde.collecting import FolderWatch
    from lightning_lde.diversity import DiversityMonitor

    monitor = DiversityMonitor(images=images, growth=growth, resolution=resolution, expected=_expected(expect))
    watched = FolderWatch(
        folder, state=state, probe=probe, size=size, batch=batch, settle_s=settle.total_seconds(), monitor=monitor,
        tell=lambda sentence: click.echo(text(sentence), err=True),
    )  # fmt: skip
    try:
        while True:
            for one in watched.look():
                _print_batch(one, as_json=as_json)
            stopped = until_plateau and watched.report().stopped
            if once or stopped:
                break
            time.sleep(every.total_seconds())
    except KeyboardInterrupt:
        stopped = False
    _print_end(watched, () if pool is None else watched.rank(pool), as_json=as_json)
    watched.close()
    sys.exit(PLATEAU if stopped else 0)


def _expected(words: tuple[str, ...]) -> dict[str, float] | None:
    shares = {}
    for word in words:
        name, equals, share = word.rpartition("=")
        try:
            shares[name if equals else word] = float(share) if equals else 1.0
        except ValueError as error:
            raise click.BadParameter(
                f"{word!r} is not CLASS or CLASS=SHARE with a number", param_hint="--expect"
            ) from error
    return shares or None


def _print_batch(one: WatchedBatch, *, as_json: bool) -> None:
    update = one.update
    if as_json:
        facts = {"kind": "batch", "batch": update.batch, "new": update.new, "alarm": update.alarm}
        print_json({**facts, **_facts(one.report)}, indent=None)
        return
    brought = {True: "new", False: "nothing new", None: "too few of a class to say"}[update.new]
    click.echo(f"batch {update.batch:<4} {_figures(one.report)}  {brought}")
    if update.alarm:
        click.echo(f"  {text(one.report.warnings[0])}")


def _print_end(watched: FolderWatch, ranked: tuple[KindScore, ...], *, as_json: bool) -> None:
    report, waiting, refused = watched.report(), watched.waiting, watched.state.refused()
    if as_json:
        facts = {**_facts(report), "waiting_for_batch": waiting, "refused_files": refused}
        found = {"ranked": [vars(one) for one in ranked]} if ranked else {}
        print_json({"kind": "end", **facts, **found}, indent=None)
        return
    click.echo(f"{report.batches} batches, {_figures(report)}")
    click.echo(f"{waiting} images wait for a full batch, {report.copies} were copies, {refused} files cannot be read")
    shares = sorted(report.classes, key=lambda one: one.share)
    listed = ", ".join(f"{text(str(one.label))} {one.share:.1%}" for one in shares[:_NAMED])
    if listed:
        more = f", and {len(shares) - _NAMED} more" if len(shares) > _NAMED else ""
        click.echo(f"classes, the rarest first: {listed}{more}")
    for warning in report.warnings:
        click.echo(text(warning))
    for one in ranked:
        newness = "new" if one.new else "known"
        click.echo(
            f"would add {one.gain:+.4f}: {text(str(one.label))} ({one.images} images, {newness}, p {one.p:.2g}, "
            f"distance {one.distance:.4g})"
        )


def _figures(report: MonitorReport) -> str:
    found = report.coefficient
    value = (
        "coefficient not yet known"
        if found is None
        else f"coefficient {found.value:.4g} [{found.low:.4g}, {found.high:.4g}] over {found.n_tasks} observations"
    )
    expected = sum(bool(one.expected) for one in report.classes)
    seen = sum(one.images > 0 for one in report.classes)
    classes = f"{seen} of {expected} classes" if expected else f"{seen} classes"
    verdict = "stopped growing" if report.stopped else "growing"
    regions = f"{len(report.regions)} regions  unseen {report.unseen:.0%}"
    return f"{report.images} images  {value}  {classes}  {regions}  {verdict}"


def _facts(report: MonitorReport) -> dict[str, Any]:
    import dataclasses

    facts = dataclasses.asdict(report)
    # In words and numbers: which of them would add most stands first.
    facts["regions"] = sorted(facts["regions"], key=lambda one: -one["gain"])
    return facts
