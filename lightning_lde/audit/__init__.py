"""Looks through a lake for what should not be there. Knows no Lightning."""

from lightning_lde.audit._scan import Finding, audit_lake, audit_spool

__all__ = ["Finding", "audit_lake", "audit_spool"]
