"""Files that `torch.save` wrote."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile
from zlib import error as ZlibError

import torch

from mtnat.errors import ModelError

_DAMAGED = (
    BadZipFile,
    ZlibError,
    NotImplementedError,
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)
"""What PyTorch and the standard library raise for a damaged file."""


def read_saved(path: Path, remedy: str) -> dict[str, Any]:
    """Reads a dictionary of tensors and plain values, on the host. Code in the file is refused, and never runs.

    Args:
        remedy: what to do about a damaged file, for the message.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        damaged = _damaged_part(path)
        saved = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError:  # PyTorch's message recommends `weights_only=False`, which would run code in the file
        raise ModelError(f"{path}: cannot be read (it holds something else than tensors and plain values); {remedy}.") from None
    except _DAMAGED as error:
        raise ModelError(f"{path}: cannot be read ({reason_of(error)}); {remedy}.") from None
    if damaged:
        raise ModelError(f"{path}: cannot be read (its part {damaged} is damaged); {remedy}.")
    if not isinstance(saved, dict):
        raise ModelError(f"{path}: cannot be read (it holds no dictionary); {remedy}.")
    return saved


def _damaged_part(path: Path) -> str | None:
    """Returns the first part of a file whose check sum is wrong, which `torch.load` does not notice; None if there is none."""
    if not is_zipfile(path):
        return None
    with ZipFile(path) as archive:
        return archive.testzip()


def reason_of(error: Exception) -> str:
    """Returns the message of another library's error, in one line of bounded length."""
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
