"""How long a batch of tasks, or of images, takes: item by item, gathered at once, and without a second copy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable
from typing import Any

import _bench as bench
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from lightning_lde.fewshot import (
    ClassificationSplit,
    Episodes,
    FewShotDataset,
    classification_loader,
    episode_loader,
)

WAYS = ("one by one", "DataLoader", "our loader")


class OneByOne(Dataset[Any]):
    """A data set that answers for one index only, as most do."""

    def __init__(self, items: Any) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Any:
        return self._items[index]


def made(n_classes: int, per_class: int, size: int, channels: int) -> FewShotDataset:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (n_classes * per_class, channels, size, size), dtype=np.uint8)
    names = tuple(f"class {number}" for number in range(n_classes))
    labels = torch.arange(n_classes).repeat_interleave(per_class)
    return FewShotDataset("random", torch.from_numpy(pixels), labels, names, ("train",) * n_classes)


CASES = {
    "32 tasks, 1 shot, 28x28x1, 20 images a class": ((800, 20, 28, 1), 32, 1),
    "32 tasks, 1 shot, 28x28x1, 2,000 images a class": ((10, 2000, 28, 1), 32, 1),
    "32 tasks, 1 shot, 84x84x3": ((64, 60, 84, 3), 32, 1),
    "4 tasks, 5 shots, 84x84x3": ((64, 60, 84, 3), 4, 5),
}


def loaders(batches: int) -> Iterable[tuple[str, dict[str, DataLoader[Any]]]]:
    for name, (form, tasks, shots) in CASES.items():
        episodes = Episodes(made(*form), split="train", ways=5, shots=shots, queries=15, n_episodes=tasks * batches)
        kinds = (DataLoader(each, batch_size=tasks) for each in (OneByOne(episodes), episodes))
        yield name, dict(zip(WAYS, (*kinds, episode_loader(episodes, tasks)), strict=True))
    images = ClassificationSplit(made(800, 20, 28, 1))
    kinds = (DataLoader(each, batch_size=64, shuffle=True) for each in (OneByOne(images), images))
    yield "64 images, 28x28x1", dict(zip(WAYS, (*kinds, classification_loader(images, 64)), strict=True))


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "sampling")
    parser.add_argument("--batches", type=int, default=40, help="batches of each way, which take turns")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with bench.work_folder(options.folder) as work:
        result: dict[str, Any] = {"benchmark": "sampling", **bench.setting(work)}
    result["cpu_ms"] = {}
    for name, ways in loaders(options.batches):
        iterators = {way: iter(loader) for way, loader in ways.items()}
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.batches):
            for way, iterator in iterators.items():
                began = time.process_time()
                batch = next(iterator)
                took[way].append((time.process_time() - began) * 1e3)
                del batch
        result["cpu_ms"][name] = took
    rows = [(name, *map(statistics.median, took.values())) for name, took in result["cpu_ms"].items()]
    bench.show("processor milliseconds of a batch, medians", ("batch", *WAYS), rows)
    bench.write(options.output, result)


if __name__ == "__main__":
    main()
