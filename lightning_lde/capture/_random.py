"""The states of the random generators of a process: read without a draw, written back without a pickle."""

from __future__ import annotations

import base64
import random
import sys
from collections.abc import Mapping
from typing import Any

# Whoever does not use a package should not wait for it.
_TORCH, _NUMPY = "torch", "numpy"


def random_state() -> dict[str, Any]:
    """The states of the global generators of Python, numpy, torch and CUDA, those that are in use.

    Returns:
        Plain words and numbers by generator (``"python"``, ``"numpy"``, ``"torch"``, ``"cuda:0"`` ...), for
        `restore_random_state`. Generators that a program makes for itself are not seen.

    Example:
        >>> import random
        >>> state = random_state()
        >>> first = random.random()
        >>> restore_random_state(state)
        ['python']
        >>> random.random() == first
        True
    """
    version, numbers, gauss = random.getstate()
    found: dict[str, Any] = {"python": {"version": version, "numbers": _packed(numbers[:-1]), "at": numbers[-1]}}
    found["python"]["gauss"] = None if gauss is None else gauss.hex()
    if _NUMPY in sys.modules and (state := _numpy_state()):
        found["numpy"] = state
    torch = sys.modules.get(_TORCH)
    if torch is not None:
        found["torch"] = _bytes_of(torch.get_rng_state())
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            for index, state in enumerate(torch.cuda.get_rng_state_all()):
                found[f"cuda:{index}"] = _bytes_of(state)
    return found


def restore_random_state(state: Mapping[str, Any]) -> list[str]:
    """Set the global generators to what `random_state` returned; those of packages that are not imported stay.

    Args:
        state: Its result, also after a round trip through JSON.

    Returns:
        The generators whose state was another one before.
    """
    present = random_state()
    changed = [name for name in present if name in state and present[name] != state[name]]
    for name in changed:
        _restore(name, state[name])
    return changed


def _restore(name: str, state: Any) -> None:
    if name == "python":
        gauss = None if state["gauss"] is None else float.fromhex(state["gauss"])
        random.setstate((state["version"], (*_unpacked(state["numbers"]), state["at"]), gauss))
    elif name == "numpy":
        numpy = sys.modules[_NUMPY]
        keys = numpy.array(_unpacked(state["numbers"]), dtype=numpy.uint32)
        gauss = float.fromhex(state["gauss"])
        numpy.random.set_state((state["kind"], keys, state["at"], state["has_gauss"], gauss))
    else:
        torch = sys.modules[_TORCH]
        tensor = torch.frombuffer(bytearray(base64.b64decode(state)), dtype=torch.uint8)
        if name == "torch":
            torch.set_rng_state(tensor)
        else:
            torch.cuda.set_rng_state(tensor, name)


def _numpy_state() -> dict[str, Any] | None:
    state = sys.modules[_NUMPY].random.get_state(legacy=False)
    # Another bit generator than the usual one has a state of another form.
    if state["bit_generator"] != "MT19937":
        return None
    return {
        "kind": state["bit_generator"],
        "numbers": _packed(state["state"]["key"].tolist()),
        "at": int(state["state"]["pos"]),
        "has_gauss": int(state["has_gauss"]),
        "gauss": float(state["gauss"]).hex(),
    }


def _bytes_of(tensor: Any) -> str:
    return base64.b64encode(tensor.numpy().tobytes()).decode()


def _packed(numbers: Any) -> str:
    return base64.b64encode(b"".join(number.to_bytes(4, "little") for number in numbers)).decode()


def _unpacked(text: str) -> list[int]:
    data = base64.b64decode(text)
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
