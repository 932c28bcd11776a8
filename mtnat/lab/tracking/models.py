"""Models in folders and in MLflow."""

import logging
import os
import tempfile
from pathlib import Path

import torch

from mtnat.errors import ModelError
from mtnat.lab.tracking.address import chosen_uri, database_file, without_password
from mtnat.training import Model, default_device, load_model


def is_address(model: str) -> bool:
    """Returns whether a model is given as an address in MLflow, not as a folder."""
    return model.startswith(("runs:/", "models:/"))


def open_model(name: str | Path, device: str | torch.device | None = None) -> Model:
    """Loads a trained model.

    Args:
        name: a model folder, such as ``outputs/quickstart/best``, or MLflow's ``runs:/…`` or ``models:/…``.
        device: by default a GPU if there is one, otherwise the CPU.

    Raises:
        ModelError: there is no such model, or it cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="mtnat-model-") as downloads:
        return load_model(model_folder(str(name), Path(downloads)), device or default_device())


def model_folder(name: str, downloads: Path) -> Path:
    """Returns the folder of a model: ``name`` itself, or a new folder in ``downloads`` if ``name`` is an address in MLflow.

    Raises:
        ModelError: MLflow has no such model.
    """
    return fetch_model(name, downloads) if is_address(name) else Path(name)


def fetch_model(uri: str, folder: Path, tracking_uri: str | None = None) -> Path:
    """Downloads the model folder at ``runs:/…`` or ``models:/…``, and returns its path.

    Args:
        tracking_uri: of MLflow; the default is ``$MLFLOW_TRACKING_URI``, or the database in the current folder.

    Raises:
        ModelError: the model does not exist or cannot be reached.
    """
    tracking_uri = chosen_uri(tracking_uri)
    database = database_file(tracking_uri)
    if database and not database.exists():
        # MLflow would create it.
        raise ModelError(f"{uri}: {database} does not exist; name MLflow's database or server in $MLFLOW_TRACKING_URI.")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow  # takes seconds
        from mlflow.exceptions import MlflowException
    except ImportError:
        raise ModelError(f"{uri}: needs MLflow; install mtnat[study], or give the model's folder.") from None
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        fetched = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder), tracking_uri=tracking_uri)
    except (MlflowException, OSError) as error:
        reason = " ".join(without_password(str(error)).split())[:300].rstrip(".")
        shown = without_password(tracking_uri)
        raise ModelError(f"{uri}: cannot be fetched from {shown} ({reason}); give one that it has.") from None
    return Path(fetched)
