"""The energy counter of a GPU."""

import torch


def gpu_joules(device: torch.device) -> float | None:
    """Returns the energy in joules that a GPU has used since its driver was loaded; None for a CPU, and for a GPU without a
    counter."""
    if device.type != "cuda":
        return None
    import pynvml  # only needed with a GPU

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except pynvml.NVMLError:
        return None
