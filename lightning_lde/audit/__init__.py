"""Looks through a lake for what should not be there. Knows no Lightning."""

from lightning_lde.audit._findings import Finding, Skipped
from lightning_lde.audit._scan import audit_lake, audit_spool

__all__ = ["Finding", "Skipped", "audit_lake", "audit_spool"]
