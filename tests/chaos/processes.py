"""The processes of a desk's studies, to be killed."""

from contextlib import suppress

import psutil
from test_whole_study import Desk

TITLES = {
    "ray::ImplicitFunc": "trial actor",
    "ray::TrainController": "Train controller",
    "ray::RayTrainWorker": "Train worker",
}
"""How the titles of Ray's actors begin."""
NAMES = {"raylet": "raylet", "gcs_server": "GCS"}


def family(desk: Desk) -> list[psutil.Process]:
    """All processes of the desk's studies."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # it has just ended, or belongs to somebody else
            if process.environ().get("MTNAT_CACHE", "").startswith(str(desk.folder)):
                found.append(process)
    return found


def by_kind(desk: Desk) -> dict[str, list[psutil.Process]]:
    """The processes that Ray started for the desk's studies, by what they are."""
    found: dict[str, list[psutil.Process]] = {}
    for process in family(desk):
        with suppress(psutil.Error):
            title = " ".join(process.cmdline())
            kind = next((kind for start, kind in TITLES.items() if title.startswith(start)), NAMES.get(process.name()))
            if kind:
                found.setdefault(kind, []).append(process)
    return found
