"""The questions of `lake.py` to other trackers' stores and to lakes of the same runs."""

from __future__ import annotations

import argparse
import math
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import _bench as bench
from _lake import METRICS, N_STEPS, make_lake
from _peers import RUNS, expected

from lightning_lde.lake import LakeStorage

QUESTIONS = ("ranking", "curve", "bulk")
FILL_FOR_S, ASK_FOR_S = 1800.0, 600.0


def compare(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Fill each store and ask it, one after the other.

    Args:
        options: ``runs`` for all of them, None for what each takes in a minute or three.
        work: The benchmark's folder.
    """
    sizes = {peer: options.runs or n for peer, n in RUNS.items()}
    stores = [_lde(n, work) for n in sorted(set(sizes.values()))]
    for peer, n in sizes.items():
        place = work / peer
        filled = bench.measure("_peers.py", "fill", peer, place, n, work=work, timeout_s=FILL_FOR_S)
        found = {"store": peer, "runs": n, **filled, "bytes": bench.size_of(place)}
        if "error" not in filled:
            found["asked"] = [_asked("_peers.py", question, peer, place, n=n, work=work) for question in QUESTIONS]
        stores.append(found)
        shutil.rmtree(place, ignore_errors=True)
    return {"stores": stores}


def _lde(n: int, work: Path) -> dict[str, Any]:
    place = work / f"lake-{n}"
    began = time.perf_counter()
    make_lake(place, n)
    LakeStorage(place).compact(silent_for=timedelta(0), grace=timedelta(0))
    filled_s = time.perf_counter() - began
    asked = [_asked("_ask.py", question, place, n=n, work=work) for question in QUESTIONS]
    return {"store": "lde", "runs": n, "filled_s": filled_s, "bytes": bench.size_of(place), "asked": asked}


def _asked(script: str, question: str, *words: object, n: int, work: Path) -> dict[str, Any]:
    found = bench.measure(script, question, *words, work=work, timeout_s=ASK_FOR_S)
    answer = found.get("answer")
    # TensorBoard keeps float32, which the values are.
    if answer is not None and not math.isclose(answer, expected(n)[question], rel_tol=1e-6):
        return {"question": question, "error": f"answered {answer}, expected {expected(n)[question]}"}
    return {"question": question, **found}


def show(result: dict[str, Any]) -> None:
    """Print what was found."""
    rows: list[tuple[object, ...]] = []
    for store in result["stores"]:
        asked = {one["question"]: one for one in store.get("asked", [])}
        cells = [asked.get(question, {}).get(name) for question in QUESTIONS for name in ("first_ms", "again_ms")]
        bulk = asked.get("bulk", {})
        speed = bulk["rows"] / bulk["again_ms"] * 1e3 if "again_ms" in bulk else None
        size = store["bytes"] / (store["runs"] * len(METRICS) * N_STEPS)
        rows.append((f"{store['store']}, {store['runs']:,} runs", store.get("filled_s"), size, *cells, speed))
    columns = [f"{question} {word}" for question in QUESTIONS for word in ("first", "again")]
    bench.show(
        "milliseconds; all bytes over all points", ("store", "filled s", "bytes/point", *columns, "bulk points/s"), rows
    )
    for store in result["stores"]:
        for one in [store, *store.get("asked", [])]:
            if "error" in one:
                bench.console.print(f"left out: {store['store']} {one.get('question', '')}: {one['error']}")
