"""LightningCLI with the callback in its configuration; needs `pip install lightning-lde[cli]`.

python examples/cli.py fit --trainer.max_epochs 2 \
    --trainer.callbacks+ lightning_lde.LDECallback --trainer.callbacks.lake ./lake
"""

from pytorch_lightning.cli import LightningCLI
from pytorch_lightning.demos.boring_classes import BoringDataModule, DemoModel

if __name__ == "__main__":
    LightningCLI(DemoModel, BoringDataModule)
