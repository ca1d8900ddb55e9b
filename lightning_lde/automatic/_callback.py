"""The callback that Lightning's entry points bring into a Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lightning_lde.callback import LDECallback

if TYPE_CHECKING:
    import pytorch_lightning as pl


class AutomaticCallback(LDECallback):
    """Records like `LDECallback`, unless the Trainer has one of the user's own.

    It is a class of its own, so that its state in a checkpoint has a key of its own and a model's
    ``configure_callbacks`` does not replace it unseen.
    """

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the Trainer to a callback of the user's, if there is one; only now all of them are known."""
        others = [callback for callback in _recorders(trainer) if callback is not self]
        if any(not isinstance(callback, AutomaticCallback) for callback in others):
            rest = [callback for callback in trainer.callbacks if callback is not self]  # type: ignore[attr-defined]
            trainer.callbacks = rest  # type: ignore[attr-defined]
        else:
            super().setup(trainer, pl_module, stage)


def _recorders(trainer: pl.Trainer) -> list[LDECallback]:
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, LDECallback)]
