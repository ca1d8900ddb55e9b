"""Random states: reading moves nothing, restoring brings the same numbers back."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_lde.capture import random_state, restore_random_state

DRAWS = {
    "python": random.random,
    "python gauss": lambda: random.gauss(0, 1),
    "numpy": lambda: float(np.random.rand()),
    "numpy normal": lambda: float(np.random.normal()),
    "torch": lambda: float(torch.rand(())),
    "torch normal": lambda: float(torch.randn(())),
}


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(sorted(DRAWS)), max_size=8), st.lists(st.sampled_from(sorted(DRAWS)), min_size=1))
def test_the_same_numbers_come_again(before: list[str], after: list[str]) -> None:
    # An odd number of normal draws leaves one that is kept back.
    for name in before:
        DRAWS[name]()
    state = json.loads(json.dumps(random_state()))
    first = [DRAWS[name]() for name in after]
    changed = restore_random_state(state)
    assert [DRAWS[name]() for name in after] == first
    assert set(changed) == {name.partition(" ")[0] for name in after}


def test_a_state_that_is_there_already_is_left_alone() -> None:
    assert restore_random_state(random_state()) == []


def test_generators_that_are_not_in_use_are_left_alone() -> None:
    code = (
        "import json, sys\nfrom lightning_lde.capture import random_state, restore_random_state\n"
        "state = random_state()\nassert list(state) == ['python'], state\n"
        "restore_random_state({**state, 'torch': 'AAAA', 'numpy': {}, 'cuda:0': ''})\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_bit_generator_of_numpy_is_not_taken_for_the_usual_one() -> None:
    usual = np.random.get_bit_generator()
    try:
        np.random.set_bit_generator(np.random.PCG64(1))
        assert "numpy" not in random_state()
    finally:
        np.random.set_bit_generator(usual)
    assert "numpy" in random_state()
