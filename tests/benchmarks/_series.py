"""Makes series of checkpoints as trainings leave them: all of a network and Adam changes, or a head on a backbone."""

from __future__ import annotations

import argparse
import hashlib
import zipfile
from pathlib import Path

import _bench as bench
import torch
from torch import Tensor, nn

WORDS, LENGTH = 8192, 32


class Transformer(nn.Module):
    """A language model; random words are its data."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, width)
        layer = nn.TransformerEncoderLayer(width, 8, 4 * width, dropout=0.0, batch_first=True)
        self.backbone = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, WORDS)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.backbone(self.words(words)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["training", "fine-tuning"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--checkpoints", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True, help="between two checkpoints")
    options = parser.parse_args()
    torch.manual_seed(0)
    model = Transformer(options.width, options.layers)
    if options.kind == "fine-tuning":
        model.words.requires_grad_(False)
        model.backbone.requires_grad_(False)
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=1e-4)
    distinct: dict[bytes, int] = {}
    for number in range(options.checkpoints):
        for _ in range(options.steps):
            _step(model, optimizer)
        path = options.folder / f"{number:02d}.ckpt"
        content = {"epoch": number, "state_dict": model.state_dict(), "optimizer_states": [optimizer.state_dict()]}
        torch.save(content, path)
        distinct |= _storages(path)
    bench.report({
        "parameters": sum(one.numel() for one in model.parameters()),
        "trained_parameters": sum(one.numel() for one in trained),
        "distinct_bytes": sum(distinct.values()),
    })  # fmt: skip


def _step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    words = torch.randint(WORDS, (2, LENGTH + 1))
    scores = model(words[:, :-1])
    optimizer.zero_grad()
    nn.functional.cross_entropy(scores.flatten(0, 1), words[:, 1:].flatten()).backward()
    optimizer.step()


def _storages(path: Path) -> dict[bytes, int]:
    with zipfile.ZipFile(path) as archive:
        datas = (archive.read(name) for name in archive.namelist() if "/data/" in name)
        return {hashlib.sha256(data).digest(): len(data) for data in datas}


if __name__ == "__main__":
    main()
