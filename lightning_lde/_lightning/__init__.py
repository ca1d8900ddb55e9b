"""What the callback needs to know of Lightning: its metric stream, its Trainer, and the facts of a run."""

from lightning_lde._lightning import _trainer as trainers
from lightning_lde._lightning._classes import CallbackBase, update_bases
from lightning_lde._lightning._session import SessionOptions, TrainerSession

__all__ = ["CallbackBase", "SessionOptions", "TrainerSession", "trainers", "update_bases"]
