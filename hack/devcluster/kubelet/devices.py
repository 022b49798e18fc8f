"""Real GPUs of this machine, given to Pods that ask for them. Pure but for the look at /dev.

Declared GPUs are only accounted by the scheduler. Where the machine has real ones, a Pod that asks for
`nvidia.com/gpu` gets as many of them that no other Pod has, in its /dev and in CUDA_VISIBLE_DEVICES; all other
Pods see none. MIG slices and other vendors' devices are accounted only.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from devcluster.kubelet.quantities import requests_of_container

_DEVICE = re.compile(r"/dev/nvidia(\d+)")
_SHARED = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")


def devices_of_host() -> tuple[str, ...]:
    """The GPUs of this machine, in order; usually none."""
    found = (str(path) for path in Path("/dev").glob("nvidia*") if _DEVICE.fullmatch(str(path)))
    return tuple(sorted(found, key=lambda path: int(path.removeprefix("/dev/nvidia"))))


def allocate(pod: dict[str, Any], of_host: Iterable[str], taken: Iterable[str]) -> tuple[str, ...]:
    """The devices for a Pod: as many free ones as it asks for, as far as there are any."""
    wanted = sum(
        int(requests_of_container(container).get("nvidia.com/gpu", 0)) for container in pod["spec"]["containers"]
    )
    used = set(taken)
    return tuple(device for device in of_host if device not in used)[:wanted]


def visible(devices: Iterable[str]) -> dict[str, str]:
    """What to tell a container about its devices."""
    numbers = [match[1] for match in map(_DEVICE.fullmatch, devices) if match]
    return {"CUDA_VISIBLE_DEVICES": ",".join(numbers)} if numbers else {}


def files(devices: Iterable[str]) -> tuple[str, ...]:
    """The device files to show in a container that has these devices."""
    mine = tuple(devices)
    return (*mine, *(path for path in _SHARED if Path(path).exists())) if mine else ()
