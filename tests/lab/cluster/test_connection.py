"""The connection to Ray, where it fails before any process has started."""

import os
from pathlib import Path
from unittest.mock import patch

import pytest

from mtnat.errors import ResourceError
from mtnat.lab.cluster.connection import ray_cluster
from mtnat.lab.study.options import Options
from mtnat.lab.study.resources import Resources


def test_a_ray_that_cannot_start_on_this_machine_is_one_sentence(tmp_path: Path) -> None:
    """Its sockets would have too long a path."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    told = r"^Ray did not start on this machine \(.*AF_UNIX path length.*\); end other programs .* start the study again\.$"
    with (
        patch.dict(os.environ, {"RAY_TMPDIR": str(folder)}),  # restores the variables that the connection sets
        pytest.raises(ResourceError, match=told),
        ray_cluster(Options(study=Path("any.yaml")), Resources()),
    ):
        pytest.fail("it has started")
