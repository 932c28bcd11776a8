"""The Kubernetes manifest has the fields that KubeRay and the study need; it is checked without a cluster."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import ray
from ruamel.yaml import YAML

from mtnat.config import build, read_value, read_yaml
from mtnat.lab.study.record import Study
from mtnat.lab.study.resources import Machine, resource_problems

ROOT = Path(__file__).parents[3]
IMAGE_FOLDER = "/mtnat"
FIELDS = {
    # The fields of ray.io/v1 in KubeRay 1.5.1.
    "job": {
        "entrypoint",
        "runtimeEnvYAML",
        "submissionMode",
        "backoffLimit",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
        "rayClusterSpec",
    },
    "cluster": {"rayVersion", "authOptions", "enableInTreeAutoscaling", "headGroupSpec", "workerGroupSpecs"},
    "head": {"rayStartParams", "template"},
    "worker": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    return {each["kind"]: each for each in YAML(typ="safe").load_all(ROOT / "cluster" / "rayjob.yaml")}


def spec(manifests: dict[str, Any]) -> Any:
    return manifests["RayJob"]["spec"]


def pods(manifests: dict[str, Any]) -> list[Any]:
    cluster = spec(manifests)["rayClusterSpec"]
    return [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]


def test_the_manifest_uses_only_fields_of_ray_io_v1(manifests: dict[str, Any]) -> None:
    job, cluster = spec(manifests), spec(manifests)["rayClusterSpec"]
    assert (manifests["RayJob"]["apiVersion"], job["submissionMode"]) == ("ray.io/v1", "K8sJobMode")
    assert job.keys() <= FIELDS["job"]
    assert cluster.keys() <= FIELDS["cluster"]
    assert cluster["headGroupSpec"].keys() <= FIELDS["head"]
    for group in cluster["workerGroupSpecs"]:
        assert group.keys() <= FIELDS["worker"]
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert all(isinstance(value, str) for value in cluster["headGroupSpec"]["rayStartParams"].values())
    assert cluster["authOptions"] == {"mode": "token"}


def test_the_manifest_and_the_dockerfile_have_the_pinned_ray_and_torch_versions(manifests: dict[str, Any]) -> None:
    assert spec(manifests)["rayClusterSpec"]["rayVersion"] == ray.__version__
    (torch,) = re.findall(r"torch==(\S+)", (ROOT / "cluster" / "Dockerfile").read_text())
    assert f"TORCH ?= torch=={torch}\n" in (ROOT / "Makefile").read_text()


def test_the_entrypoint_runs_an_existing_study_and_writes_to_the_shared_volume(manifests: dict[str, Any]) -> None:
    interpreter, program, study, *arguments = shlex.split(spec(manifests)["entrypoint"])
    assert (interpreter, program) == ("python", f"{IMAGE_FOLDER}/tune.py")
    assert (ROOT / Path(study).relative_to(IMAGE_FOLDER)).is_file()
    options = dict(zip(arguments[::2], arguments[1::2], strict=True))
    shared = [options["--outputs"], options["--tracking-uri"].removeprefix("sqlite:///")]
    shared += read_value(spec(manifests)["runtimeEnvYAML"], "runtimeEnvYAML")["env_vars"].values()
    claim = manifests["PersistentVolumeClaim"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods(manifests):
        (container,) = pod["containers"]
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        (folder,) = (mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "shared")
        assert volumes["shared"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        assert all(Path(path).is_relative_to(folder) for path in shared)
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
        assert container["image"] == pods(manifests)[0]["containers"][0]["image"]


def test_a_run_of_the_manifests_study_fits_on_the_manifests_workers(manifests: dict[str, Any]) -> None:
    study = shlex.split(spec(manifests)["entrypoint"])[2]
    resources = build(Study, read_yaml(ROOT / Path(study).relative_to(IMAGE_FOLDER))).resources
    machines = []
    for group in spec(manifests)["rayClusterSpec"]["workerGroupSpecs"]:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        machines += [Machine(float(limits["cpu"]), float(limits["nvidia.com/gpu"]))] * group["maxReplicas"]
    assert resources.gpus_per_worker > 0
    assert list(resource_problems(resources, machines)) == []
