"""Which runs fit on which machines."""

from typing import Any

import pytest

from mtnat.config import build
from mtnat.errors import ConfigError
from mtnat.lab.study.resources import Machine, Resources, resource_problems, runs_at_once, workers_at_once

CPUS = [Machine(4, 0), Machine(2, 0)]
GPUS = [Machine(16, 4), Machine(16, 4)]


def problems(machines: list[Machine], **settings: Any) -> list[str]:
    return list(resource_problems(build(Resources, settings), machines))


@pytest.mark.parametrize(
    ("machines", "settings", "runs"),
    [
        (CPUS, {}, 6),
        (CPUS, {"cpus_per_worker": 2}, 3),
        (CPUS, {"cpus_per_worker": 3}, 1),  # leftover cores of two machines do not make a worker
        (CPUS, {"workers": 2}, 3),
        (CPUS, {"workers": 4, "at_once": 2}, 2),
        (GPUS, {"gpus_per_worker": 1}, 8),
        (GPUS, {"gpus_per_worker": 2}, 4),
        (GPUS, {"gpus_per_worker": 3}, 2),
        (GPUS, {"gpus_per_worker": 1, "cpus_per_worker": 8}, 4),
        (GPUS, {"gpus_per_worker": 0.5}, 16),
        (GPUS, {"gpus_per_worker": 0.2, "cpus_per_worker": 4}, 8),
        ([Machine(99, 1)], {"gpus_per_worker": 0.2}, 5),
        ([Machine(99, 2)], {"gpus_per_worker": 0.4}, 4),  # leftover shares of two GPUs do not make a GPU
        (CPUS, {"workers": [1, 6]}, 1),
        (CPUS, {"workers": [2, 4]}, 2),
        (CPUS, {"workers": [3, 4]}, 1),
    ],
)
def test_runs_are_packed_onto_machines_as_ray_does(machines: list[Machine], settings: dict[str, Any], runs: int) -> None:
    assert runs_at_once(build(Resources, settings), machines) == runs
    assert problems(machines, **settings) == []


def test_workers_at_once_includes_workers_beyond_whole_runs() -> None:
    assert workers_at_once(Resources(workers=4), CPUS) == 6


@pytest.mark.parametrize(
    ("machines", "settings", "told"),
    [
        (
            CPUS,
            {"cpus_per_worker": 5},
            ["cpus_per_worker: must not exceed what one machine has; got 5, but no machine"],
        ),
        (
            GPUS,
            {"gpus_per_worker": 8},
            ["gpus_per_worker: must not exceed what one machine has; got 8, but no machine"],
        ),
        (
            GPUS,
            {"workers": 9, "gpus_per_worker": 1},
            ["workers: a run needs 9 that take 1 cores and 1 GPUs each, but there"],
        ),
        (CPUS, {"workers": [7, 9]}, ["workers: a run needs 7 that take 1 cores each, but there is room for 6; lower either."]),
        (CPUS, {"workers": 7, "gpus_per_worker": 1}, ["gpus_per_worker: must not", "workers: a run needs 7"]),
        ([Machine(8, 0), Machine(1, 4)], {"cpus_per_worker": 2, "gpus_per_worker": 1}, ["has 2 cores and 1 GPUs at once"]),
        ([], {}, ["cpus_per_worker: must not exceed what one machine has; got 1, but no machine has more than 0."]),
    ],
)
def test_resources_that_never_fit_are_reported(machines: list[Machine], settings: dict[str, Any], told: list[str]) -> None:
    found = problems(machines, **settings)
    assert len(found) == len(told)
    for problem, words in zip(found, told, strict=True):
        assert words in problem


@pytest.mark.parametrize("settings", [{"gpus_per_worker": 1.5}, {"workers": 2, "gpus_per_worker": 0.5}, {"workers": [3, 2]}])
def test_invalid_resource_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        build(Resources, settings)
