"""Recorded by hand under a name from the command line, with a path; its numbers are unseeded."""

import random
import sys
from pathlib import Path

from lightning_lde import Recorder

CONTACT = "bob.b@example.org"
RATE = 0.1
SHARED = "/home/roberta/shared"

name = sys.argv[2]
with Recorder(sys.argv[1], project="scripts", name=name, tags={"by": name}, system_metrics_every_s=None) as run:
    Path("logs").mkdir(exist_ok=True)
    Path("logs/seen").write_text("\n".join(sys.argv[2:]))
    for step in range(5):
        run.log({"loss": RATE * random.random()}, step=step)
