"""Nested settings from a file, changed by the command line."""

import json
import sys
from pathlib import Path

import pytorch_lightning as pl
from common import Net, loader, trainer

settings = json.loads(Path("nested.json").read_text())
for word in sys.argv[2:]:
    place, _, value = word.partition("=")
    *above, last = place.split(".")
    inner = settings
    for name in above:
        inner = inner[name]
    inner[last] = float(value)


class Configured(Net):
    def __init__(self, settings):
        super().__init__(lr=settings["optimizer"]["lr"], width=settings["model"]["width"])
        self.save_hyperparameters()


pl.seed_everything(settings["seed"], verbose=False)
trainer().fit(Configured(settings), loader())
