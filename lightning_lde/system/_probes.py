"""All probes of this machine, each apart, so that one that cannot work takes nothing else with it."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from lightning_lde.system._container import container_probes
from lightning_lde.system._energy import RaplMeter, estimating_energy
from lightning_lde.system._gpu import gpu_probes

__all__ = ["Probe", "open_probes", "take"]

Probe = Callable[[], Mapping[str, float]]

_log = logging.getLogger("lightning_lde")


@contextmanager
def open_probes() -> Iterator[list[Probe]]:
    """Everything that can be read on this machine; counters begin here.

    psutil and NVIDIA's library are imported here, so that only the thread that reads pays for it.

    Yields:
        Probes: calls that return values by name.
    """
    with ExitStack() as stack:
        probes: list[Probe] = []
        for source in (_of_host, _of_processes, container_probes, lambda: _of_gpus(stack)):
            try:
                probes += source()
            except Exception as error:
                _log.debug("system metrics: not available: %s", error)
        yield probes


def take(probes: list[Probe]) -> dict[str, float]:
    """Read all probes once; one that fails is taken out of the list.

    Args:
        probes: The probes that still work; changed in place.

    Returns:
        Their values by name.
    """
    found: dict[str, float] = {}
    for probe in list(probes):
        try:
            found.update(probe())
        except Exception as error:
            probes.remove(probe)
            _log.debug("system metrics: dropped %s: %s", getattr(probe, "__qualname__", probe), error)
    return found


def _of_host() -> list[Probe]:
    from lightning_lde.system._host import host_probes

    return host_probes()


def _of_processes() -> list[Probe]:
    from lightning_lde.system._host import ProcessTree

    tree = ProcessTree()
    rapl = RaplMeter.find()
    return [tree, rapl] if rapl else [estimating_energy(tree)]


def _of_gpus(stack: ExitStack) -> list[Probe]:
    nvml = importlib.import_module("pynvml")
    nvml.nvmlInit()
    stack.callback(nvml.nvmlShutdown)
    return gpu_probes(nvml, visible=os.environ.get("CUDA_VISIBLE_DEVICES"))
