"""The page of one run in a terminal."""

from __future__ import annotations

import json
from itertools import groupby
from typing import Any

import click

from lightning_lde.cli._output import print_lines, text
from lightning_lde.query import RunDetails

# The limits and intervals that nobody changed would bury the flags that matter; `--format json` has all of them.
_TRAINER_SHOWN = {
    "accelerator", "accumulate_grad_batches", "devices", "gradient_clip_val", "max_epochs", "max_steps", "num_nodes",
    "precision", "strategy",
}  # fmt: skip
_UNITS = ("B", "kB", "MB", "GB", "TB")


def print_run(details: RunDetails) -> None:
    """Write all sections of a run that have content."""
    run = details.run
    click.echo(f"run {run['run_id']}  {run['status']}")
    print_lines(_run_lines(run))
    for _, uses in groupby(sorted(details.data, key=_content), key=_content):
        rows = list(uses)
        _section(f"data set {rows[0]['dataset']}", _data_lines(rows))
    _section("pipeline", _pipeline_lines(details.pipeline))
    _section("settings", [(row["key"], text(row["value_text"])) for row in details.params])
    _section("metrics", [_metric_line(row) for row in details.metrics])
    _section("evaluated tasks", _episode_lines(details.episodes))
    _section("artifacts", [_artifact_line(row) for row in details.artifacts])
    _section("environment", _environment_lines(details.environment))
    _section("code", _code_lines(details.code))
    _section("links", [(row["relation"], f"{row['target_kind']} {row['target_id']}") for row in details.links])
    _section("events", [(text(row["time"]), f"{row['level']}: {row['message']}") for row in details.events])


def size(size_bytes: int | None) -> str:
    """A size for people.

    Example:
        >>> size(999), size(1500), size(None)
        ('999 B', '1.5 kB', '')
    """
    if size_bytes is None:
        return ""
    amount = float(size_bytes)
    for unit in _UNITS:
        if amount < 1000 or unit == _UNITS[-1]:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError


def _content(row: dict[str, Any]) -> str:
    return str(row["dataset_id"])


def _section(title: str, lines: list[tuple[str, str]]) -> None:
    lines = [(name, value) for name, value in lines if value]
    if lines:
        click.echo(f"\n{title}")
        print_lines(lines)


def _run_lines(run: dict[str, Any]) -> list[tuple[str, str]]:
    duration = "" if run["duration_s"] is None else f"{run['duration_s']:.1f} s"
    lines = [
        ("name", text(run["name"])),
        ("project", " / ".join(part for part in (run["project"], run["experiment"]) if part)),
        ("started", f"{text(run['started_at'])} UTC"),
        ("ended", f"{text(run['ended_at'])} UTC" if run["ended_at"] else ""),
        ("duration", duration),
        ("stopped", text(run["stop_reason"])),
        ("exception", text(run["exception"])),
        ("seed", "unseeded" if run["seed"] is None else str(run["seed"])),
        ("tags", _pairs(run["tags"])),
        ("command", " ".join(json.loads(run["argv"] or "[]"))),
        ("resumed from", text(run["resumed_from"])),
    ]
    return [(name, value) for name, value in lines if value]


def _data_lines(uses: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """One data set's facts, then a line for each use of it."""
    row = uses[0]
    shape = f"{row['sample_shape']} {row['sample_dtype'] or ''}" if row["sample_shape"] else ""
    diversity = row["diversity"]
    interval = f" [{text(row['diversity_low'])}, {text(row['diversity_high'])}]"
    facts = [
        ("kind", text(row["kind"])),
        ("content", _joined(_counted(row["dataset_samples"], "samples"), _counted(row["n_classes"], "classes"))),
        ("sample", shape),
        ("size", size(row["size_bytes"])),
        ("fingerprint", f"{row['fingerprint']} ({row['fingerprint_method']})" if row["fingerprint"] else ""),
        ("licence", text(row["licence"])),
        ("diversity", "" if diversity is None else text(diversity) + interval),
        ("id", text(row["dataset_id"])),
    ]
    return facts + [(use["relation"].replace("_", " "), _use(use)) for use in uses]


def _use(row: dict[str, Any]) -> str:
    return _joined(
        f"split {row['split']}" if row["split"] else "",
        _counted(row["n_samples"], "samples"),
        f"batch {row['batch_size']}" if row["batch_size"] is not None else "",
        _counted(row["num_workers"], "workers") if row["num_workers"] else "",
        text(row["sampler"]),
        text(row["transforms"]),
        _pairs(row["settings"]),
        f"id {row['dataset_config_id']}",
    )


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _pipeline_lines(row: dict[str, Any]) -> list[tuple[str, str]]:
    if not row:
        return []
    optimizers = ", ".join(str(one.get("class")) for one in json.loads(row["optimizers"] or "[]"))
    trainer = {key: value for key, value in json.loads(row["trainer"] or "{}").items() if value not in (None, [], {})}
    callbacks = ", ".join(trainer.pop("callbacks", []))
    return [
        ("module", row["module_class"]),
        ("parameters", f"{row['n_parameters']} ({row['n_trainable']} trainable)"),
        ("optimizers", optimizers),
        ("trainer", _pairs(json.dumps({key: value for key, value in trainer.items() if key in _TRAINER_SHOWN}))),
        ("callbacks", callbacks),
        ("id", f"{row['pipeline_config_id']} of pipeline {row['pipeline_id']}"),
    ]


def _metric_line(row: dict[str, Any]) -> tuple[str, str]:
    loader = "" if row["dataloader_idx"] is None else f"loader {row['dataloader_idx']}"
    where = _joined(text(row["context"]), loader)
    name = f"{row['name']}" + (f" ({where})" if where else "")
    spread = f"min {text(row['min'])}, max {text(row['max'])}, {row['points']} points"
    return name, f"last {text(row['last'])}  ({spread})"


_EPISODE_GROUPS = {
    "segment": "segment {}",
    "dataset": "{}",
    "split": "split {}",
    "dataset_config_id": "use {:.8}",
    "weights_id": "weights {:.8}",
}


def _episode_lines(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    # What all rows have in common would only make the lines longer.
    differing = {name for name in _EPISODE_GROUPS if len({row[name] for row in rows}) > 1}
    if differing & {"dataset", "split"}:
        differing |= {"dataset", "split"}
    uses = {(row["dataset"], row["split"], row["dataset_config_id"]) for row in rows}
    if len({use[:2] for use in uses}) == len(uses):
        differing.discard("dataset_config_id")
    return [_episode_line(row, [name for name in _EPISODE_GROUPS if name in differing]) for row in rows]


def _episode_line(row: dict[str, Any], shown: list[str]) -> tuple[str, str]:
    where = _joined(*(_EPISODE_GROUPS[name].format(row[name]) for name in shown if row[name] is not None))
    steps = "" if row["inner_steps"] is None else f", {row['inner_steps']} inner steps"
    half = "" if row["accuracy_half_interval"] is None else f" ± {row['accuracy_half_interval']:.3f}"
    return (
        f"{row['method']}{steps}" + (f" ({where})" if where else ""),
        f"accuracy {row['accuracy']:.3f}{half}, loss {row['loss']:.3f}  "
        f"({row['tasks']} tasks, {row['ways']}-way {row['shots']}-shot)",
    )


def _artifact_line(row: dict[str, Any]) -> tuple[str, str]:
    return row["path"], f"{row['kind']}, {size(row['size_bytes'])}, {row['tier']}, sha256 {row['object_id'][:16]}…"


def _environment_lines(row: dict[str, Any]) -> list[tuple[str, str]]:
    if not row:
        return []
    packages = json.loads(row["packages"] or "{}")
    known = [f"{name} {packages[name]}" for name in ("torch", "pytorch-lightning", "numpy") if name in packages]
    return [
        ("python", f"{row['python']} on {row['platform']}"),
        ("processor", f"{row['cpu'] or row['machine']} ({row['cpu_count']} cores)"),
        ("memory", size(row["memory_bytes"])),
        (
            "accelerators",
            ", ".join(str(gpu.get("name", gpu)) for gpu in json.loads(row["gpus"] or "[]")) or "none",
        ),
        ("packages", f"{len(packages)}: {', '.join(known)}, …" if packages else ""),
        ("determinism", _pairs(row["determinism"])),
        ("id", row["environment_id"]),
    ]


def _code_lines(row: dict[str, Any]) -> list[tuple[str, str]]:
    if not row:
        return []
    state = "" if row["dirty"] is None else (" with uncommitted changes" if row["dirty"] else " clean")
    return [
        ("commit", f"{row['commit']}{state}" if row["commit"] else ""),
        ("branch", text(row["branch"])),
        ("remote", text(row["remote"])),
        ("diff", f"{len(row['diff'].splitlines())} lines" if row["diff"] else ""),
        ("entry point", text(row["entry_point"])),
        ("untracked", _untracked_words(json.loads(row["untracked"] or "[]"))),
        ("id", row["code_id"]),
    ]


def _untracked_words(files: list[dict[str, Any]]) -> str:
    kept = sum(file["in_snapshot"] for file in files)
    return f"{_counted(len(files), 'files')}, {kept} in the snapshot" if files else ""


def _pairs(json_text: str | None) -> str:
    pairs = json.loads(json_text or "{}")
    return ", ".join(f"{name}={_short(value)}" for name, value in pairs.items())


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _counted(count: int | None, what: str) -> str:
    return "" if count is None else f"{count} {what}"
