"""A training that puts what a file of secrets holds into every place it can, and then fails. Run by the tests."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

import lightning_lde
from lightning_lde import LDECallback

TEXTS: dict[str, str] = {}


class Transform:
    """Its repr and its attributes say more than they should."""

    def __init__(self) -> None:
        self.words = f"visible-transform {'; '.join(TEXTS.values())}"
        self.by_word = {text: text for text in TEXTS.values()}

    def __repr__(self) -> str:
        return f"Transform({self.words})"

    def __call__(self, value: Any) -> Any:
        return value


class Data(Dataset[Any]):
    """Its facts say more than they should."""

    def __init__(self) -> None:
        self.transform = Transform()
        self.x = torch.randn(32, 4)

    def lde_facts(self) -> dict[str, Any]:
        return {
            "name": f"visible-name {' '.join(TEXTS.values())}",
            "uri": f"s3://visible-uri/x {' '.join(TEXTS.values())}",
            "version": " ".join(TEXTS.values()),
            "licence": " ".join(TEXTS.values()),
        }

    def lde_config(self) -> dict[str, Any]:
        return {"settings": {"visible-setting": list(TEXTS.values())}}

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> Any:
        return self.x[index]


class Net(pl.LightningModule):
    """Logs and fails with what it should not say."""

    def __init__(self, settings: dict[str, Any], password: str, note: str) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(4, 1)
        self.fails = False

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        loss = self.net(batch).mean()
        self.log("visible-metric", loss)
        if batch_idx == 1:
            lightning_lde.log(dict.fromkeys(TEXTS.values(), 1.0))
            self.log_dict({f"m {text.splitlines()[0]}": loss for text in TEXTS.values()}, logger=True)
        if batch_idx == 3 and self.current_epoch == 1:
            raise RuntimeError("visible-exception " + "\n".join(TEXTS.values()))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main() -> None:
    """Train."""
    file, lake, folder = sys.argv[1:4]
    TEXTS.update(json.loads(Path(file).read_text()))
    warnings.simplefilter("default")
    words = " ".join(TEXTS.values())
    callback = LDECallback(
        lake,
        project=f"visible-project {words}",
        experiment=f"visible-experiment {words}",
        name=f"visible-run {words}",
        tags={"visible-tag": words, **{f"tag {text}": text for text in TEXTS.values()}},
        flush_every_s=0.5,
    )
    settings = {"visible-key": {"notes": TEXTS, "list": list(TEXTS.values())}, **dict.fromkeys(TEXTS.values(), 1)}
    safe = "".join(char if char.isalnum() or char in "-_." else " " for char in TEXTS["GitHub"])
    keep = pl.callbacks.ModelCheckpoint(dirpath=folder, filename=f"visible-checkpoint {safe}", save_last=True)
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=pl.loggers.CSVLogger(folder),
        callbacks=[callback, keep],
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    model = Net(settings, password=TEXTS["setting"].partition("=")[2], note=words)

    class Teller(pl.Callback):
        """Writes an event."""

        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            recorder = callback._of(trainer).recorder
            assert recorder is not None
            recorder.add_event("visible-event", words)
            for text in TEXTS.values():
                recorder.say_once("note", text)
            note = Path(folder) / "visible-note.ipynb"
            note.write_text(json.dumps({"cells": [{"source": [text]} for text in TEXTS.values()]}))
            recorder.save_file(note, path=f"visible-file {safe}", kind="note")

    trainer.callbacks.append(Teller())
    try:
        trainer.fit(model, DataLoader(Data(), batch_size=4))
    except RuntimeError as error:
        sys.stdout.write("failed as it should" if "visible-exception" in str(error) else "failed otherwise")


if __name__ == "__main__":
    main()
