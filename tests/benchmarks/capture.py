"""What describing large data adds to a training: a folder of many files, and an array on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import _bench as bench
import numpy as np

KINDS = {"folder": "folder of files", "memmap": "array on the disk"}
FILE_BYTES = 600
CLASSES = 100


def main(arguments: list[str] | None = None) -> None:
    parser = bench.parser(__doc__, "capture")
    parser.add_argument("--files", type=int, default=100_000, help="files of the folder")
    parser.add_argument("--gigabytes", type=float, default=10.0, help="size of the array, a sparse file")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of trainings with and without the callback")
    parser.add_argument("--steps", type=int, default=1500, help="steps of each training")
    options = parser.parse_args(arguments)
    with bench.work_folder(options.folder) as work:
        result = {"benchmark": "capture", **bench.setting(work)}
        places = {"folder": make_folder(work / "images", options.files), "memmap": work / "array.bin"}
        make_array(places["memmap"], options.gigabytes)
        trainings = []
        for number in range(options.rounds):
            for kind, place in places.items():
                for callback in ("no", "small", "yes") if number % 2 else ("yes", "small", "no"):
                    words = (kind, place, "--callback", callback, "--steps", options.steps)
                    figures = bench.measure("_capture.py", *words, work=work, timeout_s=600)
                    trainings.append({"kind": kind, "round": number, "callback": callback, **figures})
    sizes = {"files": options.files, "gigabytes": options.gigabytes, "steps": options.steps}
    _show(trainings)
    bench.write(options.output, result | sizes | {"trainings": trainings})


def make_folder(folder: Path, n_files: int) -> Path:
    """Small files in folders of classes, each of its own content."""
    for label in range(CLASSES):
        (folder / f"class_{label:03}").mkdir(parents=True)
    for number in range(n_files):
        content = number.to_bytes(4, "big") * (FILE_BYTES // 4)
        (folder / f"class_{number % CLASSES:03}" / f"{number:06}.bin").write_bytes(content)
    return folder


def make_array(path: Path, gigabytes: float) -> None:
    """A sparse file of float32 rows of 1,024, with a number in every thousandth row."""
    n_rows = int(gigabytes * 1e9) // 4096
    array = np.memmap(path, np.float32, "w+", shape=(n_rows, 1024))
    array[::1000, 0] = 1.0
    array.flush()


def _show(trainings: list[dict[str, Any]]) -> None:
    rows = []
    for kind, words in KINDS.items():
        ones = [one for one in trainings if one["kind"] == kind and "error" not in one]
        by_round: dict[int, dict[str, dict[str, Any]]] = {}
        for one in ones:
            by_round.setdefault(one["round"], {})[one["callback"]] = one
        pairs = [found for found in by_round.values() if len(found) == 3]
        with_it = [one for one in ones if one["callback"] == "yes"]
        rows.append(
            (
                words,
                bench.median(one["hooks_ms"] for one in with_it),
                max((one["hooks_ms"] for one in with_it), default=None),
                bench.median(pair["yes"]["loop_ms"] - pair["small"]["loop_ms"] for pair in pairs),
                bench.median(pair["yes"]["loop_cpu_ms"] - pair["small"]["loop_cpu_ms"] for pair in pairs),
                bench.median(one["described_after_ms"] for one in with_it),
                bench.median(pair["yes"]["end_ms"] - pair["small"]["end_ms"] for pair in pairs),
                "yes" if _untouched(pairs) else "NO",
            )
        )
    columns = ("data", "looking", "(most)", "steps", "steps CPU", "known after", "end", "all else equal")
    bench.show("milliseconds, medians; steps and end against a run with the callback and small data", columns, rows)
    for one in trainings:
        if "error" in one:
            bench.console.print(f"left out: {one['kind']}, callback {one['callback']}: {one['error']}")


def _untouched(pairs: list[dict[str, dict[str, Any]]]) -> bool:
    """Whether weights, random states and drawn samples are as without the callback."""
    names = ("weights", "random_states", "samples_drawn")
    return bool(pairs) and all(pair["yes"][name] == pair["no"][name] for pair in pairs for name in names)


if __name__ == "__main__":
    main()
