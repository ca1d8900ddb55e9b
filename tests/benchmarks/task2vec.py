"""How long a task's Task2Vec embedding takes, and how well its distances agree with the public algorithm's."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _bench as bench
import numpy as np
import torch
from _task2vec import published_distances, reference_embedding, timed
from scipy.stats import spearmanr
from torch import Tensor

from lightning_lde.diversity import Probe, fisher_embedding, pairwise_distances, resnet18
from lightning_lde.fewshot import Conv4, Episodes, FewShotDataset, load_pack

SETS = ("mnist", "fashion_mnist", "omniglot", "emoji", "trashnet", "sign_digits", "fsdd_mel")
WAYS, HALF = 5, 10
FIRST, SECOND, TRAIN = "public, eval mode, seed 0", "public, eval mode, seed 1", "public as shipped"
OURS: dict[str, dict[str, Any]] = {
    "exact": {"norm_weights": True},
    "exact, weights only": {},
    "sketch, 2 passes": {"mode": "sketch", "passes": 2, "norm_weights": True},
    "sketch, 1 pass": {"mode": "sketch", "passes": 1, "norm_weights": True},
}
Task = tuple[str, Tensor, Tensor]


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "task2vec")
    parser.add_argument("--data", type=Path, default=bench.PACKS, help="folder of Parquet packs")
    parser.add_argument("--probe", choices=("conv4", "resnet18"), default="conv4", help="random weights, calibrated")
    parser.add_argument("--sets", nargs="+", default=list(SETS), help="packs to draw tasks from")
    parser.add_argument("--tasks", type=int, default=2, help="tasks of each set, 5 ways, 20 images a class")
    parser.add_argument("--size", type=int, default=32, help="pixels of a side")
    parser.add_argument("--draws", type=int, default=10_000, help="draws of the public algorithm in an epoch")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with bench.work_folder(options.folder) as work:
        result: dict[str, Any] = {"benchmark": "task2vec", **bench.setting(work)}
    sets = [
        load_pack(options.data / f"{name}.parquet").prepared(size=options.size, channels=3) for name in options.sets
    ]
    probe = made_probe(options, sets)
    tasks = [task for data_set in sets for task in drawn(data_set, options.tasks)]
    result |= {"settings": settings(options), "probe": probe.probe_id, "tasks": [name for name, _, _ in tasks]}
    result["seconds"], vectors = embedded(probe, tasks, options)
    result["distances"] = {way: distances(way, each).tolist() for way, each in vectors.items()}
    show(result)
    bench.write(options.output, result)


def settings(options: argparse.Namespace) -> dict[str, Any]:
    chosen = {name: getattr(options, name) for name in ("probe", "sets", "tasks", "size", "draws")}
    where = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    return {**chosen, "ways": WAYS, "images_of_a_class": 2 * HALF, "device": where}


def made_probe(options: argparse.Namespace, sets: list[FewShotDataset]) -> Probe:
    """Random weights, with BatchNorm statistics of 40 images of each set."""
    pooled = torch.cat([images[:40] for data_set in sets for _, images, _ in drawn(data_set, 1, seed=1)])
    conv4 = lambda: Conv4(3, 32, options.size, norm_statistics="running")  # noqa: E731
    build: Callable[[], torch.nn.Module] = conv4 if options.probe == "conv4" else resnet18
    return Probe.random(build, pooled, name=options.probe).to(options.device)


def drawn(data_set: FewShotDataset, number: int, seed: int = 0) -> list[Task]:
    """Tasks of 20 images a class."""
    episodes = Episodes(data_set, split="all", ways=WAYS, shots=HALF, queries=HALF, n_episodes=number, seed=seed)
    return [
        (
            data_set.name,
            torch.cat([task.support_images, task.query_images]),
            torch.cat([task.support_labels, task.query_labels]),
        )
        for task in (episodes[index] for index in range(number))
    ]


def embedded(
    probe: Probe, tasks: list[Task], options: argparse.Namespace
) -> tuple[dict[str, list[dict[str, float]]], dict[str, np.ndarray]]:
    """Seconds and vectors of each way, which take turns task by task."""
    ways = _ways(probe, draws=options.draws)
    seconds: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    vectors: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    first = tasks[0][1].to(options.device), tasks[0][2].to(options.device)
    for embed in _ways(probe, draws=128).values():
        embed(*first)  # what a first call loads is nobody's time
    for _, images, labels in tasks:
        there = images.to(options.device), labels.to(options.device)
        for way, embed in ways.items():
            vector, took = embed(*there)
            vectors[way].append(vector)
            seconds[way].append(took)
    return seconds, {way: np.stack(each).astype(np.float64) for way, each in vectors.items()}


def _ways(probe: Probe, *, draws: int) -> dict[str, Callable[..., Any]]:
    def public(*, train: bool, seed: int) -> Callable[..., Any]:
        return lambda images, labels: reference_embedding(
            probe.backbone, images, labels, draws=draws, train=train, seed=seed
        )

    def ours(chosen: dict[str, Any]) -> Callable[..., Any]:
        return lambda images, labels: timed(
            lambda: fisher_embedding(probe, images, labels, **chosen).vector, images.device
        )

    references = {
        FIRST: public(train=False, seed=0),
        SECOND: public(train=False, seed=1),
        TRAIN: public(train=True, seed=0),
    }
    return {**{way: ours(chosen) for way, chosen in OURS.items()}, **references}


def distances(way: str, vectors: np.ndarray) -> np.ndarray:
    """All pairs, by our distance for ours and the published one for the public algorithm's."""
    if way not in OURS:
        return published_distances(vectors)
    return pairwise_distances(vectors)[np.triu_indices(len(vectors), 1)]


def show(result: dict[str, Any]) -> None:
    """Print times, and what the distances are worth."""
    spent = {way: statistics.median(sum(one.values()) for one in each) for way, each in result["seconds"].items()}
    rows = []
    for way, found in result["distances"].items():
        agreement = float(spearmanr(found, result["distances"][FIRST])[0]) if len(found) > 2 else None
        inside, outside, nearest = judged(np.array(found), result["tasks"])
        rows.append((way, spent[way], spent[FIRST] / spent[way], agreement, inside, outside, nearest))
    columns = (
        "way",
        "s a task",
        "public / it",
        f"Spearman with {FIRST!r}",
        "within a set",
        "between",
        "nearest is of its set",
    )
    bench.show(f"{len(result['tasks'])} tasks, {result['settings']['probe']}", columns, rows)


def judged(found: np.ndarray, names: list[str]) -> tuple[float | None, float | None, float | None]:
    """Mean distance within and between sets, and the share of tasks whose nearest is of the same set."""
    if len(names) == len(set(names)) or len(set(names)) == 1:
        return None, None, None
    square = np.full((len(names), len(names)), np.inf)
    square[np.triu_indices(len(names), 1)] = found
    square = np.minimum(square, square.T)
    same = np.array([[one == other for other in names] for one in names])
    known = np.isfinite(square)
    nearest = np.mean([names[row] == names[int(square[row].argmin())] for row in range(len(names))])
    return float(square[same & known].mean()), float(square[~same].mean()), float(nearest)


if __name__ == "__main__":
    main()
