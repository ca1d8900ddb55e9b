"""Runs a recorded run again, as it was, and judges whether the same came out."""

from lightning_lde.reproduce._causes import Cause, probable_causes
from lightning_lde.reproduce._differences import Difference, code_differences, data_differences, environment_differences
from lightning_lde.reproduce._environment import build_environment
from lightning_lde.reproduce._facts import Recorded, Use, read_recorded
from lightning_lde.reproduce._folder import unpack, write_code
from lightning_lde.reproduce._plan import Plan, find_repository, make_plan
from lightning_lde.reproduce._reproduce import Outcome, judge, plan_reproduction, reproduce
from lightning_lde.reproduce._verdict import MetricVerdict, Verdict, compare_points, verdict_of

__all__ = [
    "Cause",
    "Difference",
    "MetricVerdict",
    "Outcome",
    "Plan",
    "Recorded",
    "Use",
    "Verdict",
    "build_environment",
    "code_differences",
    "compare_points",
    "data_differences",
    "environment_differences",
    "find_repository",
    "judge",
    "make_plan",
    "plan_reproduction",
    "probable_causes",
    "read_recorded",
    "reproduce",
    "unpack",
    "verdict_of",
    "write_code",
]
