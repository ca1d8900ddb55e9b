"""All benchmarks, one after the other; each writes its raw figures to docs/results/."""

from __future__ import annotations

import argparse
from pathlib import Path

import _bench as bench
import capture
import ingest
import lake
import maml
import manifests
import objects
import omniglot
import recommend_lake
import sampling
import scale
import startup
import task2vec
import training
import warm_start

QUICK = {
    capture: "--files 2000 --gigabytes 0.1 --rounds 1 --steps 100",
    startup: "--imports 2 --processes 1 --fits 2",
    ingest: "--points 200000 --points-of-others 50000 --points-of-peers 5000 --rounds 1",
    training: "--rounds 1 --steps 100",
    lake: "--runs 2000 --rounds 1",
    manifests: "--commits 1 2 --rounds 1",
    objects: "--width 128 --layers 1 --checkpoints 2 --steps 1 --rounds 1",
    maml: "--rounds 1 --tasks 1 --shots 1 --steps 1",
    omniglot: "--minutes 0.1 --width 8",
    sampling: "--batches 2",
    task2vec: "--sets mnist emoji --tasks 1 --draws 128 --size 16",
    recommend_lake: "--runs 2000 --rounds 1",
    warm_start: "--data-sets 1 --seeds 1",
    scale: "--files 200 --absorbed 2000 --hot 100 --rounds 1",
}

NEED_PACKS = (omniglot, task2vec, warm_start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", metavar="FOLDER", type=Path, help="only try whether all of it runs; JSON goes there")
    quick = parser.parse_args().quick
    for benchmark, options in QUICK.items():
        name = benchmark.__name__
        bench.console.rule(name)
        if benchmark in NEED_PACKS and not bench.PACKS.is_dir():
            bench.console.print("left out: it needs data packs, whose folder LDE_DATA_DIR names")
            continue
        benchmark.main([] if quick is None else [*options.split(), "-o", str(quick / f"{name}.json")])
    bench.console.rule("lake --peers")
    lake.main(["--peers"] if quick is None else ["--peers", "--runs", "20", "-o", str(quick / "lake-peers.json")])


if __name__ == "__main__":
    main()
