"""The Kubernetes manifest has the fields that KubeRay and the study need; it is checked without a cluster."""

import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
from ruamel.yaml import YAML

from mtnat.config import build, read_value, read_yaml
from mtnat.lab.study.record import Study
from mtnat.lab.study.resources import Machine, resource_problems

ROOT = Path(__file__).parents[3]
IMAGE_FOLDER = "/mtnat"
KUBERNETES = "1.37"
"""Version of Kubernetes whose schemas check the pods and the volume claim."""
TEXT, COUNT, SWITCH = {"type": "string"}, {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}


def fields(required: tuple[str, ...], **types: object) -> dict[str, object]:
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": types}


# The types of ray.io/v1 in KubeRay 1.5.1 (rayjob_types.go, raycluster_types.go), as far as they do not concern the status, the
# submitter's pod, the autoscaler's container and the services. Kubernetes' own schemas check the pod templates.
HEAD = fields(("rayStartParams", "template"), rayStartParams=TEXTS, template={"type": "object"}, enableIngress=SWITCH)
WORKER = fields(
    ("groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"),
    groupName=TEXT,
    replicas=COUNT,
    minReplicas=COUNT,
    maxReplicas=COUNT,
    numOfHosts=COUNT,
    idleTimeoutSeconds=COUNT,
    suspend=SWITCH,
    rayStartParams=TEXTS,
    template={"type": "object"},
)
CLUSTER = fields(
    ("headGroupSpec",),
    rayVersion=TEXT,
    authOptions=fields((), mode={"enum": ["disabled", "token"]}),
    enableInTreeAutoscaling=SWITCH,
    suspend=SWITCH,
    headGroupSpec=HEAD,
    workerGroupSpecs={"type": "array", "items": WORKER},
)
JOB = fields(
    (),
    entrypoint=TEXT,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    entrypointResources=TEXT,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    metadata=TEXTS,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    submitterConfig=fields((), backoffLimit=COUNT),
    backoffLimit=COUNT,
    activeDeadlineSeconds=COUNT,
    shutdownAfterJobFinishes=SWITCH,
    ttlSecondsAfterFinished=COUNT,
    suspend=SWITCH,
    clusterSelector=TEXTS,
    rayClusterSpec=CLUSTER,
)
RAY_JOB = fields(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=fields(("name",), name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS),
    spec=JOB,
)


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    return {each["kind"]: each for each in YAML(typ="safe").load_all(ROOT / "cluster" / "rayjob.yaml")}


def spec(manifests: dict[str, Any]) -> Any:
    return manifests["RayJob"]["spec"]


def groups(manifests: dict[str, Any]) -> list[Any]:
    """The group of the head, then those of the workers."""
    cluster = spec(manifests)["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def pods(manifests: dict[str, Any]) -> list[Any]:
    return [group["template"]["spec"] for group in groups(manifests)]


def test_the_manifests_meet_the_schemas_of_kuberay_and_kubernetes(manifests: dict[str, Any]) -> None:
    jsonschema.validate(manifests["RayJob"], RAY_JOB)
    kubernetes_validate.validate(manifests["PersistentVolumeClaim"], KUBERNETES, strict=True)
    for group in groups(manifests):
        template = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": group["template"]}
        kubernetes_validate.validate(template, KUBERNETES, strict=True)
    assert manifests.keys() == {"RayJob", "PersistentVolumeClaim"}
    for group in groups(manifests)[1:]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


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
