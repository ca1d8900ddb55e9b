"""One question to a large lake, first in a fresh process and then again."""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from _bench import report

from lightning_lde import Lake

SQL = {
    "ranking": """
        with best as (
            select run_id, name, pipeline_config_id, (summary->'val_acc'->>'last')::double as val_acc
            from runs join dataset_configs using (dataset_config_id)
            where dataset_id = 'set 7'
            order by val_acc desc limit 10)
        select best.*, max(value_num) filter (key = 'lr') as lr, max(value_num) filter (key = 'wd') as wd
        from best join params on config_id = pipeline_config_id
        where key in ('lr', 'wd') group by all order by val_acc desc""",
    "curve": "select step, value from metrics where run_id = ? and name = 'val_loss' order by step",
    "bulk": "select run_id, step, value from metrics where name = 'val_loss'",
}


def main() -> None:
    question, place = sys.argv[1:]
    lake = Lake(place)
    parameters = []
    if question == "curve":
        # What is asked for is found by another process.
        parameters = [_first_run(place)]
    began = time.perf_counter()
    rows = lake.sql(SQL[question], parameters)
    first = time.perf_counter() - began
    again = []
    for _ in range(5):
        began = time.perf_counter()
        lake.sql(SQL[question], parameters)
        again.append(time.perf_counter() - began)
    figures = {"first_ms": first * 1e3, "again_ms": statistics.median(again) * 1e3, "rows": rows.num_rows}
    report({**figures, "answer": _told(question, rows)})


def _first_run(place: str) -> Any:
    import subprocess

    code = (
        "import sys; from lightning_lde import Lake; "
        "print(Lake(sys.argv[1]).sql(\"select run_id from runs where name = 'run 0'\").column(0)[0])"
    )
    return subprocess.run(
        [sys.executable, "-c", code, place], capture_output=True, text=True, check=True
    ).stdout.strip()


def _told(question: str, rows: Any) -> float:
    """What an answer comes to, so that it can be compared with others."""
    if question == "ranking":
        return float(rows.column("val_acc")[0].as_py())
    return float(sum(rows.column("value").to_pylist()))


if __name__ == "__main__":
    main()
