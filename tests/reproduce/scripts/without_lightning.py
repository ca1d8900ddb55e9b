"""A training loop of one's own, recorded by hand, unseeded."""

import random
import sys

import torch

from lightning_lde import Recorder

weights = torch.zeros(3, requires_grad=True)
with Recorder(sys.argv[1], project="scripts", name="by hand", system_metrics_every_s=None) as run:
    for step in range(10):
        loss = ((weights - torch.randn(3)) ** 2).sum() * random.random()
        loss.backward()
        with torch.no_grad():
            weights -= 0.1 * weights.grad
            weights.grad.zero_()
        run.log({"loss": loss}, step=step)
