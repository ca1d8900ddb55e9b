"""The facts of the process that a run happens in: environment, code, seeds, command line."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from lightning_lde import capture
from lightning_lde.recording._governance import VARIABLES
from lightning_lde.schema import Link, Relation, canonical_json, utc_now

if TYPE_CHECKING:
    from lightning_lde.recording._recorder import Recorder


def describe_process(recorder: Recorder) -> None:
    """Record where and from what code the open segment runs."""
    environment = capture.capture_environment()
    code = capture.capture_code()
    seeds = capture.capture_seeds()
    recorder.record("environments", environment)
    recorder.record("code", code)
    recorder.update(
        environment_id=environment.environment_id,
        code_id=code.code_id,
        seed=seeds.get("PL_GLOBAL_SEED"),
        seeds=seeds,
        argv=capture.redact_argv(sys.argv),
    )
    if recorder.capture_level == "full":
        recorder.add_event(VARIABLES, canonical_json(capture.redact(dict(sorted(os.environ.items())))))
    link_run(recorder, Relation.RAN_IN, "environment", environment.environment_id)
    link_run(recorder, Relation.RAN_CODE, "code", code.code_id)


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
