"""Choose where tensors live."""

from __future__ import annotations

import torch

from ptypinn.errors import InputError


def pick_device(name: str) -> torch.device:
    """The device that an option names.

    Args:
        name: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        InputError: Where the device does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError("--device", "", repr(name), "auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise InputError("--device", "", repr(name), "a CUDA device that this machine has")
    return device
