"""The pods themselves: golden manifests, and the rules of A1 that a golden file does not explain.

`UPDATE_GOLDEN=1 pytest tests/unit/kuberay` writes the golden files anew; read the difference.
"""

import os
from pathlib import Path

import pytest
import yaml
from unit.kuberay.builders import cluster, worker_group

from devcluster.kuberay import constants as c
from devcluster.kuberay import pods

GOLDEN = Path(__file__).parent / "golden"


def with_limits(**limits):
    group = worker_group()
    group["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "4", "memory": "16Gi", **limits}}
    return cluster(groups=[group])


GOLDEN_CLUSTERS = {
    "cpu": cluster(authOptions={"mode": "token", "secretName": "demo-token"}),
    "one-gpu": with_limits(**{"nvidia.com/gpu": "1"}),
    "four-gpus": with_limits(**{"nvidia.com/gpu": "4"}),
    "mig": with_limits(**{"nvidia.com/mig-1g.10gb": "1"}),
    "another-vendor": with_limits(**{"amd.com/gpu": "1"}),
}


@pytest.mark.parametrize("name", GOLDEN_CLUSTERS)
def test_pods_are_as_in_the_golden_file(name):
    given = GOLDEN_CLUSTERS[name]
    found = [pods.head_pod(given), pods.worker_pod(given, given["spec"]["workerGroupSpecs"][0], 0)]
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(yaml.dump_all(found, sort_keys=False, width=110, Dumper=NoAliases))
    assert found == list(yaml.safe_load_all(path.read_text()))


class NoAliases(yaml.SafeDumper):
    """Writes equal parts out instead of pointing at the first."""

    def ignore_aliases(self, data):
        return True


def head(**template):
    group = cluster()["spec"]["headGroupSpec"]
    group["template"]["spec"]["containers"][0] |= template
    return pods.head_pod(cluster(head=group))


def worker(group=None, **fields):
    group = group or worker_group()
    return pods.worker_pod(cluster(groups=[group], **fields), group, 0)


def ray(pod):
    return pod["spec"]["containers"][0]


def env(container):
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def test_the_first_container_is_rays_and_others_are_left_alone():
    group = worker_group()
    sidecar = {"name": "sidecar", "image": "x"}
    group["template"]["spec"]["containers"].append(dict(sidecar))
    found = worker(group)
    assert "ray start" in ray(found)["args"][0]
    assert found["spec"]["containers"][1] == sidecar


def test_the_container_runs_ray_start_under_bash_with_more_open_files():
    assert ray(head())["command"] == ["/bin/bash", "-c", "--"]
    (script,) = ray(head())["args"]
    assert script.startswith("ulimit -n ${RAY_START_ULIMIT_OPEN_FILES:-65536}; ray start --head ")


def test_a_command_of_the_template_runs_first():
    (script,) = ray(head(command=["sleep"], args=["1"]))["args"]
    assert script.startswith(" sleep  1  && ulimit -n ")


def test_a_template_that_starts_ray_itself_keeps_its_command():
    found = ray(head(command=["bash", "-c"], args=["ray start --head --block"]))
    assert found["args"] == ["ray start --head --block"]


def test_an_annotation_keeps_the_command_and_the_generated_one_is_in_the_environment():
    given = cluster(metadata={"annotations": {c.ANNOTATION_OVERWRITE_COMMAND: "true"}})
    given["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["command"] = ["mine"]
    found = pods.head_pod(given)
    assert ray(found)["command"] == ["mine"]
    assert env(ray(found))["KUBERAY_GEN_RAY_START_CMD"].startswith("ray start --head")
    assert found["metadata"]["annotations"][c.ANNOTATION_OVERWRITE_COMMAND] == "true"


def test_workers_know_their_head_by_its_service():
    found = env(ray(worker()))
    assert found["FQ_RAY_IP"] == "demo-head-svc.team.svc.cluster.local"
    assert found["RAY_IP"] == "demo-head-svc"
    assert found["RAY_ADDRESS"] == "demo-head-svc.team.svc.cluster.local:6379"
    assert env(ray(head()))["RAY_ADDRESS"] == "127.0.0.1:6379"


def test_variables_of_the_user_are_kept():
    found = env(ray(head(env=[{"name": "RAY_ADDRESS", "value": "mine:1"}, {"name": "RAY_PORT", "value": "1"}])))
    assert found["RAY_ADDRESS"] == "mine:1"
    assert found["RAY_PORT"] == "1"


@pytest.mark.parametrize(
    ("options", "secret"),
    [({"mode": "token"}, "demo"), ({"mode": "token", "secretName": "mine"}, "mine"), ({}, None), (None, None)],
)
def test_the_token_comes_from_a_secret_and_only_with_an_explicit_mode(options, secret):
    fields = {} if options is None else {"authOptions": options}
    for container in (ray(worker(**fields)), worker(**fields)["spec"]["initContainers"][0]):
        found = env(container)
        if secret is None:
            assert "RAY_AUTH_MODE" not in found
        else:
            assert found["RAY_AUTH_MODE"] == "token"
            assert found["RAY_AUTH_TOKEN"] == {"secretKeyRef": {"name": secret, "key": "auth_token"}}


def test_workers_wait_for_the_gcs_after_the_templates_own_init_containers():
    group = worker_group()
    group["template"]["spec"]["initContainers"] = [{"name": "first", "image": "x"}]
    group["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "m", "mountPath": "/m"}]
    first, waiting = worker(group)["spec"]["initContainers"]
    assert first["name"] == "first"
    assert env(first)["FQ_RAY_IP"] == "demo-head-svc.team.svc.cluster.local"
    assert waiting["name"] == "wait-gcs-ready"
    assert "ray health-check --address demo-head-svc.team.svc.cluster.local:6379" in waiting["args"][0]
    assert waiting["volumeMounts"] == [{"name": "m", "mountPath": "/m"}]
    assert waiting["resources"]["limits"] == {"cpu": "200m", "memory": "256Mi"}
    assert "initContainers" not in head()["spec"]


def test_a_port_parameter_of_the_head_reaches_its_workers():
    group = cluster()["spec"]["headGroupSpec"]
    group["rayStartParams"] = {"port": "6400"}
    found = pods.worker_pod(cluster(head=group), worker_group(), 0)
    assert "--address=demo-head-svc.team.svc.cluster.local:6400" in ray(found)["args"][0]
    assert env(ray(found))["RAY_PORT"] == "6400"


@pytest.mark.parametrize(
    ("version", "probe"),
    [
        ("2.60.0", {"httpGet": {"path": "/api/healthz", "port": 52365}}),
        ("2.53.0", {"httpGet": {"path": "/api/healthz", "port": 52365}}),
        ("2.52.9", "exec"),
        ("", "exec"),
        ("nightly", "exec"),
    ],
)
def test_probes_follow_the_version_of_ray(version, probe):
    for found in (ray(pods.head_pod(cluster(rayVersion=version))), ray(worker(rayVersion=version))):
        for kind in ("livenessProbe", "readinessProbe"):
            if probe == "exec":
                assert "api/local_raylet_healthz" in found[kind]["exec"]["command"][2]
            else:
                assert found[kind]["httpGet"] == probe["httpGet"]


def test_probe_times_are_kuberays():
    found = ray(head())
    times = {"periodSeconds": 5, "successThreshold": 1, "timeoutSeconds": 5}
    assert found["readinessProbe"].items() >= {**times, "initialDelaySeconds": 10, "failureThreshold": 10}.items()
    assert found["livenessProbe"].items() >= {**times, "initialDelaySeconds": 30, "failureThreshold": 120}.items()
    assert ray(worker())["readinessProbe"]["timeoutSeconds"] == 2


def test_a_probe_of_the_template_stays():
    mine = {"httpGet": {"path": "/-/healthz", "port": 8000}}
    found = ray(head(readinessProbe=mine))
    assert found["readinessProbe"] == mine
    assert found["livenessProbe"]["httpGet"]["port"] == 52365


def test_shared_memory_is_as_large_as_the_memory_limit():
    found = head()
    assert found["spec"]["volumes"] == [{"name": "shared-mem", "emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}}]
    assert {"name": "shared-mem", "mountPath": "/dev/shm"} in ray(found)["volumeMounts"]


def test_shared_memory_of_the_template_stays():
    mounts = [{"name": "mine", "mountPath": "/dev/shm"}]
    found = head(volumeMounts=mounts)
    assert ray(found)["volumeMounts"] == mounts
    assert found["spec"]["volumes"] == []


def test_an_object_store_elsewhere_needs_no_shared_memory():
    group = cluster()["spec"]["headGroupSpec"]
    group["rayStartParams"] = {"plasma-directory": "/tmp"}
    assert pods.head_pod(cluster(head=group))["spec"]["volumes"] == []


def test_labels_that_identify_a_pod_cannot_be_overridden_and_others_can():
    group = worker_group(labels={"zone": "b", c.LABEL_GROUP: "wrong"})
    group["template"]["metadata"] = {"labels": {"zone": "a", c.LABEL_CLUSTER: "wrong", c.LABEL_APPLICATION: "mine"}}
    labels = worker(group)["metadata"]["labels"]
    assert labels[c.LABEL_CLUSTER] == "demo"
    assert labels[c.LABEL_GROUP] == "workers"
    assert labels[c.LABEL_NODE_TYPE] == "worker"
    assert labels[c.LABEL_APPLICATION] == "mine"
    assert labels["zone"] == "b"


def test_kuberay_sets_neither_a_grace_period_nor_a_hook():
    found = head()
    assert "terminationGracePeriodSeconds" not in found["spec"]
    assert "lifecycle" not in ray(found)


def test_a_builder_never_changes_the_cluster():
    given = GOLDEN_CLUSTERS["cpu"]
    before = yaml.dump(given)
    pods.head_pod(given)
    pods.worker_pod(given, given["spec"]["workerGroupSpecs"][0], 0)
    assert yaml.dump(given) == before
