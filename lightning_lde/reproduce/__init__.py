"""Runs a recorded run again, as it was, and judges whether the same came out."""

from lightning_lde.reproduce._causes import Cause, probable_causes
from lightning_lde.reproduce._differences import Difference, code_differences, data_differences, environment_differences
from lightning_lde.reproduce._environment import PIP, build_environment, packages_of_elsewhere, packages_to_install
from lightning_lde.reproduce._facts import Recorded, Use, read_recorded
from lightning_lde.reproduce._folder import unpack, write_code
from lightning_lde.reproduce._git import find_repository
from lightning_lde.reproduce._modules import Module, missing_modules, modules_of
from lightning_lde.reproduce._names import Names, names_known_here, with_names
from lightning_lde.reproduce._plan import Plan, make_plan
from lightning_lde.reproduce._reproduce import Outcome, judge, plan_reproduction, reproduce
from lightning_lde.reproduce._verdict import MetricVerdict, Verdict, compare_points, verdict_of

__all__ = [
    "PIP",
    "Cause",
    "Difference",
    "MetricVerdict",
    "Module",
    "Names",
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
    "missing_modules",
    "modules_of",
    "names_known_here",
    "packages_of_elsewhere",
    "packages_to_install",
    "plan_reproduction",
    "probable_causes",
    "read_recorded",
    "reproduce",
    "unpack",
    "verdict_of",
    "with_names",
    "write_code",
]
