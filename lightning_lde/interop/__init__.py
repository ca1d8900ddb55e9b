"""The tables of a lake in other programs: Polars, Daft on one machine or many, Spark; see docs/engines.md."""

from lightning_lde.interop._daft import to_daft
from lightning_lde.interop._polars import to_polars
from lightning_lde.interop._spark import to_spark

__all__ = ["to_daft", "to_polars", "to_spark"]
