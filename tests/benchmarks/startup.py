"""What the start takes: importing the package, and the callback's hooks before the first step."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import _bench as bench

PROGRAMS = {
    "interpreter": "pass",
    "import lightning_lde": "import lightning_lde",
    "Recorder": "from lightning_lde import Recorder",
    "import pytorch_lightning": "import pytorch_lightning",
    "LDECallback": "from lightning_lde import LDECallback",
}
HOOKS = ("constructor", "setup", "on_fit_start", "on_train_start", "on_fit_end", "teardown")


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "startup")
    parser.add_argument("--imports", type=int, default=20, help="starts of the interpreter for each program")
    parser.add_argument("--processes", type=int, default=5, help="processes for each model")
    parser.add_argument("--fits", type=int, default=5, help="fits in each process")
    options = parser.parse_args(arguments)
    with bench.work_folder(options.folder) as work:
        result = {"benchmark": "startup", **bench.setting(work)}
        imports = _imports(options.imports)
        hooks = []
        for number in range(options.processes):
            for model in ("mlp", "resnet18"):
                figures = bench.measure("_startup.py", model, "--fits", options.fits, work=work, timeout_s=600)
                hooks.append({"model": model, "process": number, **figures})
    _show_imports(imports)
    _show_hooks(hooks)
    bench.write(options.output, result | {"imports": imports, "hooks": hooks})


def _imports(count: int) -> list[dict[str, Any]]:
    """Seconds from the start of the interpreter to its end; the programs take turns, the first turn is not counted."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LDE_")}
    found = []
    for number in range(-1, count):
        for name, program in PROGRAMS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], cwd=bench.ROOT, env=environment, check=True)
            seconds = time.perf_counter() - start
            if number >= 0:
                found.append({"program": name, "round": number, "seconds": seconds})
    return found


def _show_imports(imports: list[dict[str, Any]]) -> None:
    base = {one["round"]: one["seconds"] for one in imports if one["program"] == "interpreter"}
    rows = []
    for name in PROGRAMS:
        ones = [one for one in imports if one["program"] == name]
        more = bench.median(one["seconds"] - base[one["round"]] for one in ones)
        rows.append((name, bench.median(one["seconds"] for one in ones), more))
    title = f"start of a process, medians of {len(base)}"
    bench.show(title, ("program", "seconds", "more than the interpreter"), rows)


def _show_hooks(hooks: list[dict[str, Any]]) -> None:
    rows = []
    for model in ("mlp", "resnet18"):
        ones = [one["fits"] for one in hooks if one["model"] == model and "error" not in one]
        for words, fits in (
            ("first fit", [fit[0] for fit in ones]),
            ("later fits", [f for fit in ones for f in fit[1:]]),
        ):
            figures = [bench.median(fit[f"{hook}_ms"] for fit in fits) for hook in HOOKS]
            cpu = bench.median(fit["on_fit_start_thread_cpu_ms"] for fit in fits)
            rows.append((f"{model}, {words}", *figures, cpu))
    title = "milliseconds of the training's thread in the callback's hooks, medians"
    bench.show(title, ("fit", *HOOKS, "on_fit_start CPU"), rows)
    for one in hooks:
        if "error" in one:
            bench.console.print(f"left out: {one['model']}: {one['error']}")


if __name__ == "__main__":
    main()
