"""The cluster files are what Ray, EC2 and KubeRay take, and have a node for every pool of the run that they are for."""

from __future__ import annotations

import copy
import gzip
import inspect
import json
import re
from pathlib import Path
from typing import Any

import botocore.session
import jsonschema
import pytest
import yaml
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.dashboard.modules.job import job_supervisor
from ray.data._internal.cluster_autoscaler import rate_based_cluster_autoscaler as autoscaling

from ray_jobs import cluster
from ray_jobs.config import load

ROOT = Path(__file__).resolve().parents[2]
AWS, RUN = ROOT / "cluster.yaml", ROOT / "configs" / "cluster.yaml"
SCHEMAS = Path(__file__).parent / "kuberay"  # of KubeRay 1.7's custom resources, without their descriptions


@pytest.fixture(scope="module")
def aws() -> dict[str, Any]:
    return yaml.safe_load(AWS.read_text())


@pytest.fixture(scope="module")
def k8s() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "k8s" / "raycluster.yaml").read_text())


def test_ray_takes_the_cluster_file(aws):
    prepared = prepare_config(copy.deepcopy(aws))
    validate_config(prepared)
    assert prepared["available_node_types"]["head"]["max_workers"] == 0


def test_ec2_takes_every_node(aws):
    ec2 = botocore.session.get_session().get_service_model("ec2")
    request = ec2.operation_model("RunInstances").input_shape
    for name, node in aws["available_node_types"].items():
        wanted = {"MinCount": 1, "MaxCount": 1, **node["node_config"]}
        assert not ParamValidator().validate(wanted, request).has_errors(), name
        assert node["node_config"]["InstanceType"] in ec2.shape_for("InstanceType").enum, name


def test_nothing_comes_from_a_default_that_moves(aws):
    for key in ("setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands"):
        assert aws[key] == []
    images = [aws["docker"]["image"]]
    images += [
        node["docker"]["worker_image"] for node in aws["available_node_types"].values() if "docker" in node
    ]
    assert len(images) > 4
    for image in images:
        assert re.fullmatch(r"REGISTRY/spatialpix-[a-z]+:\d+\.\d+\.\d+", image), image
    machines = {node["node_config"]["ImageId"] for node in aws["available_node_types"].values()}
    assert machines == {"AMI"}, (
        "an id that whoever starts the cluster puts in, not what is newest at each start"
    )


def test_the_head_takes_no_work_and_only_it_and_training_are_never_spot(aws):
    nodes = aws["available_node_types"]
    assert nodes["head"]["resources"] == {"CPU": 0}
    spot = {name for name, node in nodes.items() if "InstanceMarketOptions" in node["node_config"]}
    assert spot == {"llm-spot", "diffusion-spot", "blender-spot"}
    for name in spot:  # the same machine stands behind, for less of a preference
        behind = nodes[name.removesuffix("-spot")]
        assert behind["priority"] < nodes[name]["priority"]
        for key in ("resources", "labels", "docker", "max_workers"):
            assert behind[key] == nodes[name][key], (name, key)
        assert behind["node_config"] == {
            key: value for key, value in nodes[name]["node_config"].items() if key != "InstanceMarketOptions"
        }


def test_ray_asks_for_a_token_wherever_it_starts(aws, k8s):
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [line for line in aws[key] if "ray start" in line]
        assert starts and all("RAY_AUTH_MODE=token" in line for line in starts)
    assert "~/.ray/auth_token" in aws["file_mounts"]
    assert k8s["spec"]["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize(
    "path", ["cluster.yaml", "k8s/raycluster.yaml", "k8s/rayjob.yaml", "configs/cluster.yaml"]
)
def test_there_are_no_keys_in_the_files(path):
    text = (ROOT / path).read_text()
    assert not re.search(r"AKIA[0-9A-Z]{16}|aws_secret|secret_access|AccessKey|hf_[A-Za-z0-9]{20}", text)


def amounts(pool) -> dict[str, float]:
    return {"CPU": pool.num_cpus, "GPU": pool.num_gpus, "memory": (pool.memory_mb or 0) * 2**20}


def pools() -> dict[str, Any]:
    config = load(RUN)
    assert set(config.pools) == {
        "pairs",
        "verdicts",
        "captions",
        "unique",
        "edits",
        "p2p",
        "photos",
        "scores",
    }
    return dict(config.pools)


def fitting(pool, nodes: dict[str, tuple[dict[str, float], dict[str, str]]]) -> list[str]:
    return [
        name
        for name, (resources, labels) in nodes.items()
        if all(resources.get(key, 0) >= value for key, value in amounts(pool).items())
        and all(labels.get(key) == value for key, value in pool.labels.items())
    ]


def workers_at_once(pool, nodes, most: dict[str, int]) -> int:
    """How many of the pool's workers the types that fit hold together."""
    total = 0
    for name in fitting(pool, nodes):
        resources, _ = nodes[name]
        total += most[name] * min(
            int(resources[key] / value) for key, value in amounts(pool).items() if value
        )
    return total


@pytest.mark.parametrize("name", sorted(pools()))
def test_every_pool_of_the_run_has_nodes(name, aws, k8s):
    pool, types = pools()[name], aws["available_node_types"]
    on_aws = {key: (node["resources"], node.get("labels", {})) for key, node in types.items()}
    assert fitting(pool, on_aws)
    most = {key: node.get("max_workers", 0) for key, node in types.items()}
    assert workers_at_once(pool, on_aws, most) >= (pool.max_size or pool.size)
    groups = k8s["spec"]["workerGroupSpecs"]
    in_pods = {group["groupName"]: (of_pod(group), group["labels"]) for group in groups}
    assert fitting(pool, in_pods)
    most = {group["groupName"]: group["maxReplicas"] for group in groups}
    assert workers_at_once(pool, in_pods, most) >= (pool.max_size or pool.size)


def of_pod(group) -> dict[str, float]:
    asked = group["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert asked["memory"].endswith("Gi")
    memory = float(asked["memory"].removesuffix("Gi")) * 2**30
    return {"CPU": float(asked["cpu"]), "GPU": float(asked.get("nvidia.com/gpu", 0)), "memory": memory}


def strict(schema: Any) -> Any:
    """As JSON Schema, in which a field that nobody knows is an error: Kubernetes would drop it without a word."""
    if isinstance(schema, list):
        return [strict(value) for value in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if "properties" in made and not made.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    if made.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made


@pytest.mark.parametrize("kind", ["raycluster", "rayjob"])
def test_kuberay_takes_the_manifests(kind):
    schema = json.loads(gzip.decompress((SCHEMAS / f"{kind}.json.gz").read_bytes()))
    schema = strict(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    manifest = yaml.safe_load((ROOT / "k8s" / f"{kind}.yaml").read_text())
    jsonschema.validate(manifest, schema)
    manifest["spec"]["enableAutoscaling"] = True
    with pytest.raises(jsonschema.ValidationError, match="enableAutoscaling"):
        jsonschema.validate(manifest, schema)


def test_both_clusters_have_the_same_workers(aws, k8s):
    groups = {group["groupName"]: group for group in k8s["spec"]["workerGroupSpecs"]}
    types = {name: node for name, node in aws["available_node_types"].items() if name != "head"}
    assert groups.keys() == types.keys()
    for name, node in types.items():
        assert groups[name]["labels"] == node["labels"]
        assert groups[name]["maxReplicas"] == node["max_workers"]
        assert of_pod(groups[name])["GPU"] == node["resources"].get("GPU", 0)
        assert groups[name].get("priority", 0) == node.get("priority", 0)


def test_a_stopped_job_has_the_time_to_give_back_what_it_holds(aws, k8s):
    name = "RAY_JOB_STOP_WAIT_TIME_S"
    assert f'"{name}"' in inspect.getsource(job_supervisor)  # as Ray reads it
    (start,) = [line for line in aws["head_start_ray_commands"] if "ray start" in line]
    assert f"{name}=60 ray start" in start
    env = k8s["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": name, "value": "60"} in env


def test_no_autoscaler_moves_the_head(k8s):
    assert k8s["spec"]["headGroupSpec"]["template"]["metadata"]["annotations"] == {
        "karpenter.sh/do-not-disrupt": "true",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    }


def test_the_run_of_kubernetes_finds_its_configuration_in_the_image():
    entry = yaml.safe_load((ROOT / "k8s" / "rayjob.yaml").read_text())["spec"]["entrypoint"].split()
    path = Path(entry[entry.index("--config") + 1])
    folders = re.findall(r"^WORKDIR (.+)$", (ROOT / "docker" / "base.Dockerfile").read_text(), re.MULTILINE)
    assert (ROOT / path.relative_to(folders[0])) == RUN  # where the project is copied to


def test_ray_data_asks_for_no_nodes_of_its_own():
    never = {name for name, value in cluster._QUIET.items() if value == cluster._NEVER}
    read = set(
        re.findall(r"RAY_DATA_DEFAULT_CLUSTER_SCALING_UP_\w+_THRESHOLD", inspect.getsource(autoscaling))
    )
    assert never == read
    assert "utilization.cpu < threshold.cpu" in inspect.getsource(autoscaling)


def test_the_pools_of_the_run_ask_for_all_that_they_are_to_have():
    assert all(pool.max_size in (None, pool.size) for pool in pools().values())
