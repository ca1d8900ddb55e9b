"""How long a meta-step of MAML takes and how much memory, beside learn2learn, higher and a loop with torch.func."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import _bench as bench
from _meta_step import NETS

ENGINES = ("lightning_lde", "learn2learn", "higher", "torch_func")
PEERS = ENGINES[1:]
OURS = ENGINES[0]
CELL = ("net", "shots", "steps", "first_order", "tasks")


class Worker:
    """A process in which one engine waits for work; of all of them one works at a time."""

    def __init__(self, engine: str, threads: int, folder: Path, device: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(bench.HERE / "_meta_step.py"), engine, str(threads), str(folder), device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
        )

    def ask(self, **job: Any) -> dict[str, Any]:
        """The answer to one line of work."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"error": f"ended with {self._process.wait()}"}

    def end(self) -> None:
        """Let it go."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "maml")
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="turns of each engine in a cell of the smallest meta-batch; larger ones get as many tasks, or one turn",
    )
    parser.add_argument("--tasks", type=int, nargs="+", default=[4, 16, 32], help="sizes of a meta-batch")
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 5], help="inner steps")
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--device", default="cpu", help="cpu or cuda; on a GPU ours records its steps, 16 tasks at a time"
    )
    parser.add_argument(
        "--learn2learn", type=Path, help="a folder with its package (default: from its sources, by pip)"
    )
    options = parser.parse_args(arguments)
    with bench.work_folder(options.folder) as work:
        folder = options.learn2learn or learn2learn_sources(work)
        result: dict[str, Any] = {"benchmark": "maml", **bench.setting(work), "threads": options.threads}
        result["device"] = device_name(options.device)
        workers = {name: Worker(name, options.threads, folder, options.device) for name in ENGINES}
        result["agreement"] = agreement(workers, options.nets, work)
        result["peak_gflops"] = peak_gflops(options.threads, options.device)
        result["memory"] = memory(options, folder)
        result["cells"] = []
        cells = itertools.product(options.nets, options.shots, options.steps, (True, False), options.tasks)
        try:
            for cell in cells:
                named = dict(zip(CELL, cell, strict=True))
                result["cells"].append(timed(workers, named, options.rounds, min(options.tasks), options.device))
        except KeyboardInterrupt:
            bench.console.print("stopped; the cells that are done are kept")
        for worker in workers.values():
            worker.end()
    show(result)
    bench.write(options.output, result)


def learn2learn_sources(work: Path) -> Path:
    """Its source distribution, unpacked: it is not built, as its compiled parts fail to since Python 3.11."""
    command = [
        "download",
        "--no-deps",
        "--no-binary",
        ":all:",
        "--no-build-isolation",
        "-d",
        work,
        "learn2learn==0.2.0",
    ]
    subprocess.run([sys.executable, "-m", "pip", *map(str, command)], check=False, capture_output=True)
    for archive in work.glob("learn2learn-*.tar.gz"):
        with tarfile.open(archive) as packed:
            packed.extractall(work, filter="data")
    return next(work.glob("learn2learn-*/"), work)


def agreement(workers: dict[str, Worker], nets: list[str], work: Path) -> list[dict[str, Any]]:
    """Relative difference of each engine's meta-gradient to torch.func's, in float64, before anything is timed."""
    import torch

    found = []
    for net, steps, first_order in itertools.product(nets, (1, 5), (True, False)):
        slopes = {}
        for name, worker in workers.items():
            file = work / f"{name}.pt"
            answer = worker.ask(what="gradient", net=net, shots=1, steps=steps, first_order=first_order, file=str(file))
            slopes[name] = None if "error" in answer else torch.load(file, map_location="cpu")
        reference = slopes["torch_func"]
        for name, slope in slopes.items():
            if slope is None or reference is None:
                continue
            difference = float((slope - reference).norm() / reference.norm())
            found.append({"engine": name, "net": net, "steps": steps, "first_order": first_order, "error": difference})
            if difference > 1e-8:
                raise SystemExit(f"{name} computes another gradient: {found[-1]}")
    return found


def device_name(device: str) -> str:
    """The processor's kind, or the name of the GPU."""
    import torch

    return device if device == "cpu" else torch.cuda.get_device_name()


def peak_gflops(threads: int, device: str) -> float:
    """The most that multiplying matrices reaches here."""
    import torch

    torch.set_num_threads(threads)
    size = 1024 if device == "cpu" else 8192
    a = torch.rand(size, size, device=device)
    best = math.inf
    for _ in range(12):
        began = time.perf_counter()
        # Its last value is what waits for the device.
        float((a @ a)[-1, -1])
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best / 1e9


def timed(workers: dict[str, Worker], cell: dict[str, Any], rounds: int, smallest: int, device: str) -> dict[str, Any]:
    """Engines in turn, after one step each, of four tasks at most, that does not count."""
    seconds: dict[str, dict[str, list[float]]] = {}
    times = 1 if device == "cpu" else 5
    for worker in workers.values():
        worker.ask(what="time", times=1, **{**cell, "tasks": min(cell["tasks"], 4)})
    for _ in range(max(1, round(rounds * smallest / cell["tasks"]))):
        for name, worker in workers.items():
            answer = worker.ask(what="time", times=times, **cell)
            if "error" not in answer:
                kept = seconds.setdefault(name, {"wall_s": [], "cpu_s": []})
                kept["wall_s"] += answer["wall_s"]
                kept["cpu_s"] += answer["cpu_s"]
    flops = workers["torch_func"].ask(what="flops", **cell).get("flops")
    return {**cell, "flops": flops, "seconds": seconds}


def memory(options: Any, folder: Path) -> list[dict[str, Any]]:
    """The most that a step of 5 inner steps takes above what a fresh process held before."""
    found = []
    for net, first_order, tasks in itertools.product(
        options.nets, (True, False), dict.fromkeys((options.tasks[0], options.tasks[-1]))
    ):
        for name in ENGINES:
            worker = Worker(name, options.threads, folder, options.device)
            cell = {"net": net, "shots": 5, "steps": 5, "first_order": first_order, "tasks": tasks}
            found.append({"engine": name, **cell, **worker.ask(what="memory", **cell)})
            worker.end()
    return found


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    rows, ratios = [], []
    clock = "cpu_s" if result["device"] == "cpu" else "wall_s"
    for cell in result["cells"]:
        medians = {name: bench.median(one[clock]) or math.nan for name, one in cell["seconds"].items()}
        best = min((medians[name] for name in PEERS if name in medians), default=math.nan)
        ratios.append(best / medians[OURS])
        reached = (cell["flops"] or math.nan) / medians[OURS] / 1e9 / result["peak_gflops"]
        order = "first" if cell["first_order"] else "higher"
        words = f"{cell['net']}, {cell['shots']} shot, {order}, {cell['steps']} steps, {cell['tasks']} tasks"
        rows.append((words, *(medians.get(name) for name in ENGINES), ratios[-1], f"{reached:.0%}"))
    columns = ("cell", *ENGINES, "best peer / ours", "of the peak")
    kind = "processor seconds" if clock == "cpu_s" else "seconds"
    bench.show(f"{kind} of a meta-step, medians; {result['device']}", columns, rows)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    bench.console.print(f"best peer over ours: {min(ratios):.2f} to {max(ratios):.2f}, geometric mean {mean:.2f}")
    bench.console.print(f"peak: {result['peak_gflops']:.0f} GFLOP/s by a product of matrices")
    keys = ("net", "first_order", "tasks")
    needed: dict[tuple[Any, ...], dict[str, float]] = {}
    for one in result["memory"]:
        needed.setdefault(tuple(one[key] for key in keys), {})[one["engine"]] = one.get("step_mb")
    rows = [
        (f"{net}, {'first' if first else 'higher'}, {tasks} tasks", *(each.get(name) for name in ENGINES))
        for (net, first, tasks), each in needed.items()
    ]
    bench.show(
        "peak memory of a meta-step above what the process held before, MB: 5 shots, 5 inner steps",
        ("cell", *ENGINES),
        rows,
    )


if __name__ == "__main__":
    main()
