"""Erasing: what belongs to a run, a data set, a person or a text goes from every file of a lake; a receipt says so."""

from lightning_lde.lake.erase._ask import KINDS, Request
from lightning_lde.lake.erase._erase import Preview, erase, finish, preview
from lightning_lde.lake.erase._receipt import Receipt, read_receipts

__all__ = ["KINDS", "Preview", "Receipt", "Request", "erase", "finish", "preview", "read_receipts"]
