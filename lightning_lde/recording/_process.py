"""The facts of the process that a run happens in: environment, code, seeds, command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lightning_lde import capture, reproducing
from lightning_lde.policy import WAYS
from lightning_lde.recording._governance import VARIABLES
from lightning_lde.schema import Link, Relation, canonical_json, utc_now

if TYPE_CHECKING:
    from lightning_lde.recording._recorder import Recorder


def describe_process(recorder: Recorder) -> None:
    """Record where and from what code the open segment runs."""
    environment = capture.capture_environment()
    folders, code = capture.source_folders(), capture.capture_sources(hide=recorder.without_known_secrets)
    recorder.growing_code = None if folders is None else (code, folders)
    seeds = {**capture.capture_seeds(), "random_state": recorder.random_state_id}
    recorder.record("environments", environment)
    recorder.record_code(code)
    recorder.update(
        environment_id=environment.environment_id,
        code_id=code.row.code_id,
        seed=seeds.get("PL_GLOBAL_SEED"),
        seeds=seeds,
        argv=capture.redact_argv(capture.command_line()),
    )
    if recorder.capture_level == "full":
        recorder.add_event(VARIABLES, canonical_json(capture.redact(dict(sorted(os.environ.items())))))
    link_run(recorder, Relation.RAN_IN, "environment", environment.environment_id)
    link_run(recorder, Relation.RAN_CODE, "code", code.row.code_id)
    if recorder.run.reproduces is not None:
        link_run(recorder, Relation.REPRODUCES, "run", recorder.run.reproduces)


def describe_later_imports(recorder: Recorder) -> None:
    """Add the modules that were imported since the segment began to its code, where git does not have them."""
    if recorder.growing_code is None:
        return
    code, folders = recorder.growing_code
    larger = capture.with_later_imports(code, folders, hide=recorder.without_known_secrets)
    if larger is None:
        return
    recorder.growing_code = larger, folders
    recorder.record_code(larger)
    recorder.update(code_id=larger.row.code_id)
    link_run(recorder, Relation.RAN_CODE, "code", larger.row.code_id)


def as_written(identity: reproducing.Identity, salt: str) -> list[reproducing.Identity]:
    """What a lake may have made of what a run is called, by each way of naming people: its policy may have changed.

    Args:
        identity: Project, experiment, name and tags.
        salt: The lake's.
    """
    return [
        {key: _with_people(item, emails, names, salt) for key, item in identity.items()}
        for emails in WAYS
        for names in WAYS
    ]


def _with_people(value: Any, emails: str, names: str, salt: str) -> Any:
    if isinstance(value, str):
        return capture.hide_names(capture.hide_emails(value, emails, salt), names, salt)
    if isinstance(value, Mapping):
        return {_with_people(key, emails, names, salt): _with_people(value[key], emails, names, salt) for key in value}
    return value


def begin_as_recorded(recorder: Recorder, number: int) -> bytes | None:
    """The states of the random generators as a segment begins; in a reproduction, those of the reproduced run.

    Args:
        recorder: The run's recorder.
        number: How many segments it has begun before.

    Returns:
        The states as JSON, None where they cannot be read.
    """
    target = reproducing.wanted()
    try:
        if target is not None and recorder.run.reproduces == target.run_id:
            _restore(recorder, target, number)
        return canonical_json(capture.random_state()).encode()
    except Exception as error:
        recorder.say_once("random", f"the random states are not known: {type(error).__name__}: {error}")
        return None


def _restore(recorder: Recorder, target: reproducing.Wanted, number: int) -> None:
    state = target.random_states[number] if number < len(target.random_states) else None
    if state is not None and (changed := capture.restore_random_state(state)):
        words = f"random states restored as segment {number} began: {', '.join(changed)}"
        recorder.add_event("reproduction", words)
    _restore_threads(recorder, target.torch_threads)


def _restore_threads(recorder: Recorder, threads: int | None) -> None:
    torch = sys.modules.get("torch")
    if torch is not None and threads is not None and (found := torch.get_num_threads()) != threads:
        torch.set_num_threads(threads)
        recorder.add_event("reproduction", f"torch's threads set from {found} to {threads}")


def link_run(recorder: Recorder, relation: str, target_kind: str, target_id: str) -> None:
    """Record an edge of the lineage graph that begins at the run.

    Args:
        recorder: The run's recorder.
        relation: A word of ``Relation``.
        target_kind: What the edge leads to, such as ``"dataset_config"``.
        target_id: Its id.
    """
    link = Link(
        source_kind="run",
        source_id=recorder.run_id,
        relation=relation,
        target_kind=target_kind,
        target_id=target_id,
        run_id=recorder.run_id,
        recorded_at=utc_now(),
    )
    recorder.record("links", link)
