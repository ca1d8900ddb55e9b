"""Subcommands artifacts and get: which files a run has, and how to get them back."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lightning_lde.cli._arguments import open_lake, output_format, split_words, storage_options
from lightning_lde.cli._compare import url_and_runs
from lightning_lde.cli._output import print_json, print_table, text
from lightning_lde.cli._show import size

if TYPE_CHECKING:
    from lightning_lde.query import Lake, RunArtifact

LARGE_BYTES = 32 << 20
"""From this size on a terminal shows how far it is."""


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] RUN")
@click.option("--space", is_flag=True, help="Say how much room they take in the lake; it reads more of the lake.")
@output_format
@storage_options
def artifacts(words: tuple[str, ...], form: str, options: tuple[str, ...], *, space: bool) -> None:
    """List the files of RUN: an id, the beginning of one, or a unique name.

    Of several versions of a file the newest is shown, with their number; the other formats have all of them.
    """
    url, run = split_words(words, "RUN")
    lake = open_lake(url, options)
    if form != "table":
        print_table(lake.artifacts(run), form)
        return
    run_id = lake.resolve_run(run)
    total = _print_files(lake.artifacts(run_id).to_pylist())
    if space:
        from lightning_lde.query import space_of

        found = space_of(lake, run_id)
        click.echo(
            f"{size(total)} in all: {size(found.stored_bytes)} in the lake, "
            f"{size(found.own_bytes)} of that in files of no other run"
        )
    elif total:
        click.echo(f"{size(total)} in all; what files have in common is stored once: --space says what that comes to")


def _print_files(rows: Sequence[dict[str, Any]]) -> int:
    """Print the newest version of each file; returns the bytes of all versions."""
    import pyarrow as pa

    versions = [row["path"] for row in rows]
    newest = {row["path"]: row for row in reversed(rows)}
    shown = [
        {
            "path": path,
            "kind": row["kind"],
            "size": size(row["size_bytes"]),
            "tier": row["tier"],
            "score": row["score"],
            "versions": versions.count(path),
            "stored": row["recorded_at"],
            "weights": (row["weights_id"] or "")[:12],
        }
        for path, row in sorted(newest.items())
    ]
    names = ("path", "kind", "size", "tier", "score", "versions", "stored", "weights")
    print_table(pa.table({name: [row[name] for row in shown] for name in names}), "table")
    return sum(row["size_bytes"] for row in rows)


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[URL] RUN [PATH]...")
@click.option(
    "-o", "--output", "folder", default=".", show_default=True, metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path), help="Where the files go, each under its path.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace files that are there.")
@click.option("--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True)
@storage_options
def get(words: tuple[str, ...], folder: Path, form: str, options: tuple[str, ...], *, force: bool) -> None:
    """Get files of RUN back: those of each PATH, which may have wildcards (*, ?), or all of them.

    A file appears when all of it is there and verified. Of several versions it is the newest.
    """
    url, rest = url_and_runs(words)
    if not rest:
        raise click.UsageError("name a RUN: lde get [URL] RUN [PATH]...")
    run, *paths = rest
    from lightning_lde.query import each_artifact

    lake = open_lake(url, options)
    run_id = lake.resolve_run(run)
    done = [
        _get(one, folder, force=force, form=form) for one in _wanted(lake, run_id, each_artifact(lake, run_id), paths)
    ]
    if form == "json":
        print_json(done)
    if any(row["error"] for row in done):
        sys.exit(2)


def _wanted(lake: Lake, run_id: str, files: Sequence[RunArtifact], paths: Sequence[str]) -> list[RunArtifact]:
    """The files that some words mean, each once.

    Raises:
        ArtifactNotFoundError: If one of the words means none.
    """
    from lightning_lde.errors import ArtifactNotFoundError

    listed = f"`lde artifacts {lake.url} {run_id}` lists them"
    if not paths:
        if not files:
            raise ArtifactNotFoundError(f"run {run_id} has no files")
        return [one for one in files if one.tier != "deleted"]
    chosen: dict[str, RunArtifact] = {}
    for word in paths:
        # A path may have brackets that no wildcard is meant by.
        found = [one for one in files if one.path == word]
        found = found or [one for one in files if fnmatch.fnmatchcase(one.path, word)]
        if not found:
            raise ArtifactNotFoundError(f"run {run_id} has no file {word!r}: {listed}")
        chosen |= {one.path: one for one in found}
    return list(chosen.values())


def _get(one: RunArtifact, folder: Path, *, force: bool, form: str) -> dict[str, Any]:
    """Get one file; an error costs no other file."""
    place, error = None, None
    try:
        place = place_for(folder, one.path)
        with _progress(one) as tell:
            one.save(place, overwrite=force, tell=tell)
    except OSError as failure:
        error = " ".join(_reason(failure).split())
    if form == "text":
        if error is None:
            click.echo(f"{text(str(place))}  {size(one.size_bytes)}")
        else:
            click.echo(f"lde: {text(error)}", err=True)
    return {"path": one.path, "file": None if error else str(place), "size_bytes": one.size_bytes, "error": error}


def _reason(failure: OSError) -> str:
    words = str(failure)
    return f"{words}; --force replaces it" if words.endswith("it is not replaced") else words


def place_for(folder: Path, path: str) -> Path:
    """Where a file of a run goes: never outside of the folder, whatever its path in the lake is.

    Args:
        folder: The folder.
        path: The file's path.

    Raises:
        OSError: If it would be outside, or is no path of a file.

    Example:
        >>> place_for(Path("out"), "checkpoints/last.ckpt").as_posix()
        'out/checkpoints/last.ckpt'
        >>> place_for(Path("out"), "../last.ckpt")
        Traceback (most recent call last):
        OSError: '../last.ckpt' is no path below a folder: it is left alone
    """
    parts = path.split("/")
    if "\0" in path or any(part in {"", ".", ".."} for part in parts):
        raise OSError(f"{path!r} is no path below a folder: it is left alone")
    place = folder.joinpath(*parts)
    root = folder.resolve()
    if not place.parent.resolve().is_relative_to(root):
        raise OSError(f"{path!r} leads out of {folder} through a link: it is left alone")
    return place


@contextmanager
def _progress(one: RunArtifact) -> Iterator[Callable[[int], None] | None]:
    """Shows on a terminal how far a large file is."""
    if one.size_bytes < LARGE_BYTES or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=one.size_bytes, label=text(one.path), file=sys.stderr) as bar:
        yield bar.update
