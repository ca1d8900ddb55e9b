"""One recommendation from a large lake, first in a fresh process and then again, by the clock and by the processor."""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from _bench import report

from lightning_lde import Lake
from lightning_lde.query import advise


def main() -> None:
    place, metric, dataset = sys.argv[1:]
    lake = Lake(place)
    rounds = [_round(lake, metric, dataset) for _ in range(4)]
    figures: dict[str, Any] = {f"first_{name}": value for name, value in rounds[0].items()}
    for name in rounds[0]:
        figures[f"again_{name}"] = statistics.median(one[name] for one in rounds[1:])
    report(figures)


def _round(lake: Lake, metric: str, dataset: str) -> dict[str, float]:
    found: dict[str, float] = {}
    began, worked = time.perf_counter(), time.process_time()
    results = lake.results(metric)
    found["table_s"] = time.perf_counter() - began
    found["table_processor_s"] = time.process_time() - worked
    advice = advise(results, dataset, k=5)
    found["all_s"] = time.perf_counter() - began
    found["all_processor_s"] = time.process_time() - worked
    found["rows"] = float(results.table.mean.size)
    found["proposals"] = float(len(advice.recommendation.proposals))
    return found


if __name__ == "__main__":
    main()
