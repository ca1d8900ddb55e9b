"""Checks a lake: whether each file, and each thing that a row names, is there and whole; and repairs what can be."""

from lightning_lde.lake.check._check import check
from lightning_lde.lake.check._findings import CheckReport, Finding, Kind, Severity

__all__ = ["CheckReport", "Finding", "Kind", "Severity", "check"]
