"""How far MAML comes on Omniglot in a given time: accuracy on unseen alphabets over training time, beside learn2learn.

5-way 1-shot, Conv4, rotated classes in training; all begin with the same weights and see the same tasks in the same
order. Ours is shown twice: adapting the body with learned step lengths, and as the plain MAML that learn2learn has. By
default they train at the same time, each bound to one core, in turn where there are fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import _bench as bench
from _omniglot import ENGINES, TEST_QUERIES, TEST_TASKS, WAYS, add_options
from maml import learn2learn_sources

OPTIONS = (
    "minutes",
    "width",
    "tasks",
    "queries",
    "inner_steps",
    "test_steps",
    "inner_lr",
    "first_inner_lr",
    "outer_lr",
    "threads",
    "split",
    "adapts",
    "learn_inner_lr",
)


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "omniglot")
    add_options(parser)
    parser.add_argument("--in-turn", action="store_true", help="one engine after the other, bound to no core")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    parser.add_argument("--keep", action="store_true", help="keep curves of other engines that the JSON has")
    options = parser.parse_args(arguments)
    result: dict[str, Any] = {"benchmark": "omniglot", "curves": {}}
    if options.keep and options.output.exists():
        result = json.loads(options.output.read_text())
    with bench.work_folder(options.folder) as work:
        options.learn2learn = options.learn2learn or str(learn2learn_sources(work))
        numbers = {name: getattr(options, name) for name in (*OPTIONS, "first_order")}
        task = {"ways": WAYS, "shots": 1, "test_queries": TEST_QUERIES, "test_tasks": TEST_TASKS}
        facts = {**bench.setting(work), "settings": {**numbers, **task}, "at_once": not options.in_turn}
        result["pixels"] = pixels(options)
        result["curves"] |= {name: {**facts, **told} for name, told in curves(options, work).items()}
    show(result)
    bench.write(options.output, result)


def pixels(options: argparse.Namespace) -> float:
    """Accuracy of the nearest class mean of raw pixels on the same tasks, which has learned nothing."""
    from lightning_lde.fewshot import Episodes, load_pack
    from lightning_lde.study import nearest_centroid_accuracy

    plain = load_pack(options.data)
    tasks = Episodes(plain, split=options.split, shots=1, queries=TEST_QUERIES, n_episodes=TEST_TASKS, seed=20_000)
    return statistics.fmean(nearest_centroid_accuracy(tasks[index]) for index in range(len(tasks)))


def curves(options: argparse.Namespace, work: Path) -> dict[str, dict[str, Any]]:
    """What each engine told of itself, look by look; an error where it failed, which leaves the others' as they are."""
    cores = 1 if options.in_turn or not hasattr(os, "sched_getaffinity") else len(os.sched_getaffinity(0))
    started: list[Engine] = []
    for number, name in enumerate(options.engines):
        if number >= cores:
            started[number - cores].process.wait()
        started.append(Engine(name, options, work, core=None if options.in_turn else number))
    return {engine.name: engine.told() for engine in started}


class Engine:
    """An engine at work in a process of its own; what it says goes into files."""

    def __init__(self, name: str, options: argparse.Namespace, work: Path, core: int | None) -> None:
        self.name = name
        self._looks, self._warnings = work / f"{name}.jsonl", work / f"{name}.log"
        words = [f"--{each.replace('_', '-')}={getattr(options, each)}" for each in OPTIONS]
        words += [f"--data={options.data}", f"--learn2learn={options.learn2learn}"]
        words += ["--first-order"] if options.first_order else []
        command = [sys.executable, str(bench.HERE / "_omniglot.py"), name, *words]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "MKL_NUM_THREADS": str(options.threads)}
        with self._looks.open("w") as out, self._warnings.open("w") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
        if core is not None and cores:
            os.sched_setaffinity(self.process.pid, {cores[core % len(cores)]})

    def told(self) -> dict[str, Any]:
        """Its looks at the test tasks when it has ended, or why there are none."""
        if code := self.process.wait():
            lines = self._warnings.read_text().split("\n")
            return {"error": next((line for line in reversed(lines) if line.strip()), f"exit code {code}")[:300]}
        return {"looks": [json.loads(line) for line in self._looks.read_text().splitlines()]}


def show(result: dict[str, Any]) -> None:
    """Print the curves side by side."""
    for name, told in result["curves"].items():
        if "error" in told:
            bench.console.print(f"{name} failed: {told['error']}")
    curves = {name: told["looks"] for name, told in result["curves"].items() if "looks" in told}
    rows = []
    for looks in zip(*curves.values(), strict=False):
        told = [f"{100 * look['accuracy']:.1f} ±{100 * look['ci95']:.1f} ({look['steps']} steps)" for look in looks]
        rows.append((f"{looks[0]['minutes']:.1f}", *told))
    bench.show("accuracy on unseen alphabets, percent, by minutes of training", ("minutes", *curves), rows)
    bench.console.print(f"nearest class mean of pixels: {100 * result['pixels']:.1f} %")


if __name__ == "__main__":
    main()
