"""What a GPU's own meter says."""

import torch


def gpu_joules(device: torch.device) -> float | None:
    """Energy that a GPU has taken since its driver was loaded; None of a CPU, and of a GPU that does not tell."""
    if device.type != "cuda":
        return None
    import pynvml  # of no use elsewhere

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000
    except pynvml.NVMLError:
        return None
