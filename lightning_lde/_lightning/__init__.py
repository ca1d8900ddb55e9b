"""What the callback needs to know of Lightning: its metric stream, its Trainer, and the facts of a run."""

from lightning_lde._lightning import _trainer as trainers
from lightning_lde._lightning._facts import RunFacts
from lightning_lde._lightning._sampler import MetricSampler
from lightning_lde._lightning._tap import MetricTap

__all__ = ["MetricSampler", "MetricTap", "RunFacts", "trainers"]
