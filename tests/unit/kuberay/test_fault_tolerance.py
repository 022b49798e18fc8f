"""GCS fault tolerance by Redis: the pods, what is refused, and the end of the cluster."""

from copy import deepcopy

import pytest
from unit.kuberay.builders import cluster, head_pod, pod

from devcluster.kuberay import constants as c
from devcluster.kuberay import fault_tolerance, pods
from devcluster.kuberay.offered import not_offered
from devcluster.kuberay.planning import Snapshot, plan
from devcluster.kuberay.steps import Announce, Create, Delete, Finalize
from devcluster.kuberay.teardown import Ending, teardown
from devcluster.kuberay.validation import validate

FINALIZER = "ray.io/gcs-ft-redis-cleanup-finalizer"
SECRET = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}


def tolerant(*, metadata=None, head=None, **options):
    return cluster(metadata=metadata, head=head, gcsFaultToleranceOptions={"redisAddress": "redis:6379", **options})


def environment(found):
    return {
        entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in found["spec"]["containers"][0]["env"]
    }


def worker(of):
    return pods.worker_pod(of, of["spec"]["workerGroupSpecs"][0], 0)


def test_a_head_keeps_its_tables_in_redis_under_a_name_of_its_own():
    found = pods.head_pod(tolerant())
    assert (
        environment(found).items()
        >= {
            "RAY_REDIS_ADDRESS": "redis:6379",
            "RAY_external_storage_namespace": "0b5c",
        }.items()
    )
    annotations = found["metadata"]["annotations"]
    assert (annotations["ray.io/ft-enabled"], annotations["ray.io/external-storage-namespace"]) == ("true", "0b5c")


def test_a_name_in_redis_can_be_given():
    found = pods.head_pod(tolerant(externalStorageNamespace="mine"))
    assert environment(found)["RAY_external_storage_namespace"] == "mine"
    assert found["metadata"]["annotations"]["ray.io/external-storage-namespace"] == "mine"


def test_credentials_come_by_reference_and_reach_ray_as_variables():
    found = pods.head_pod(tolerant(redisPassword=SECRET, redisUsername={"value": "ray"}))
    assert (
        environment(found).items()
        >= {
            "REDIS_PASSWORD": SECRET["valueFrom"],
            "REDIS_USERNAME": "ray",
        }.items()
    )
    (command,) = found["spec"]["containers"][0]["args"]
    assert "--redis-password=$REDIS_PASSWORD" in command
    assert "--redis-username=$REDIS_USERNAME" in command


def test_workers_wait_ten_minutes_for_a_new_head_unless_told_otherwise():
    assert environment(worker(tolerant()))["RAY_gcs_rpc_server_reconnect_timeout_s"] == "600"
    assert "RAY_REDIS_ADDRESS" not in environment(worker(tolerant()))
    own = tolerant()
    container = own["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    container["env"] = [{"name": "RAY_gcs_rpc_server_reconnect_timeout_s", "value": "30"}]
    assert environment(worker(own))["RAY_gcs_rpc_server_reconnect_timeout_s"] == "30"


def test_without_it_nothing_of_it_is_there():
    of = cluster()
    assert not {"RAY_external_storage_namespace", "RAY_REDIS_ADDRESS"} & environment(pods.head_pod(of)).keys()
    assert "RAY_gcs_rpc_server_reconnect_timeout_s" not in environment(worker(of))


def with_variable(name):
    head = deepcopy(cluster()["spec"]["headGroupSpec"])
    head["template"]["spec"]["containers"][0]["env"] = [{"name": name, "value": "x"}]
    return head


PROBLEMS = {
    "the old annotation beside it": (
        tolerant(metadata={"annotations": {"ray.io/ft-enabled": "true"}}),
        "annotation and GcsFaultToleranceOptions are both set",
    ),
    "a password among the parameters": (
        tolerant(head={"rayStartParams": {"redis-password": "x"}}),
        "cannot set `redis-password` in rayStartParams",
    ),
    "a password in the head's variables": (
        tolerant(head=with_variable("REDIS_PASSWORD")),
        "use GcsFaultToleranceOptions.RedisPassword",
    ),
    "an address in the head's variables": (
        tolerant(head=with_variable("RAY_REDIS_ADDRESS")),
        "use GcsFaultToleranceOptions.RedisAddress",
    ),
    "a user name in the head's variables": (
        tolerant(head=with_variable("REDIS_USERNAME")),
        "cannot set redis username",
    ),
    "a user name without it": (cluster(head={"rayStartParams": {"redis-username": "x"}}), "cannot set redis username"),
    "a name in Redis as an annotation": (
        tolerant(metadata={"annotations": {"ray.io/external-storage-namespace": "x"}}),
        "use GcsFaultToleranceOptions.ExternalStorageNamespace",
    ),
    "the embedded storage": (tolerant(backend="rocksdb"), "requires the GCSFaultToleranceEmbeddedStorage feature gate"),
    "a volume beside Redis": (tolerant(storage={"size": "1Gi"}), "only applies to the 'rocksdb' backend"),
}


@pytest.mark.parametrize(("given", "words"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_what_is_refused(given, words):
    violation = validate(given)
    assert violation is not None
    assert words in violation.message


def test_a_sound_one_is_accepted():
    assert validate(tolerant(redisPassword=SECRET)) is None
    assert not_offered(tolerant(redisPassword=SECRET)) is None


def test_the_finalizer_stands_before_anything_else_is_made():
    of = tolerant(metadata={"finalizers": ["mine/hold"]})
    assert plan(Snapshot(of)).steps == (Finalize(("mine/hold", FINALIZER)),)
    held = tolerant(metadata={"finalizers": [FINALIZER]})
    assert any(isinstance(step, Create) and step.kind == "Pod" for step in plan(Snapshot(held)).steps)


def ending(*seen, seconds=5, **metadata):
    of = tolerant(metadata={"finalizers": ["mine/hold", FINALIZER], **metadata})
    return teardown(Ending(of, tuple(seen), seconds))


def cleaner(phase):
    return pod("demo-redis-cleanup", phase=phase, metadata={"labels": {c.LABEL_NODE_TYPE: "redis-cleanup"}})


def going(one):
    one["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z"
    return one


def test_a_deleted_cluster_first_loses_its_pods():
    decided = ending(head_pod(), pod("w0"), going(pod("w1")))
    assert [step.name for step in decided.steps if isinstance(step, Delete)] == ["demo-head-x1", "w0"]
    assert "waiting for the head Pod" in decided.error


def test_redis_is_cleaned_up_when_the_head_is_gone_and_not_before():
    assert not [step for step in ending(going(head_pod())).steps if isinstance(step, Create)]
    (step,) = ending(going(pod("w1"))).steps
    body = step.body
    assert body["metadata"]["name"] == "demo-redis-cleanup"
    assert body["metadata"]["labels"]["ray.io/node-type"] == "redis-cleanup"
    (container,) = body["spec"]["containers"]
    assert "cleanup_redis_storage" in container["command"][-1]
    assert environment(body)["RAY_external_storage_namespace"] == "0b5c"
    assert body["spec"]["restartPolicy"] == "Never"
    assert not {"livenessProbe", "readinessProbe"} & container.keys()


@pytest.mark.parametrize(
    ("phase", "steps", "words"),
    [
        ("Pending", (), "waiting for Redis"),
        ("Running", (), "waiting for Redis"),
        ("Failed", (), "could not be cleaned up"),
        ("Succeeded", (Finalize(("mine/hold",)),), ""),
    ],
)
def test_the_finalizer_goes_when_redis_is_clean(phase, steps, words):
    decided = ending(cleaner(phase))
    assert decided.steps == steps
    assert words in decided.error


@pytest.mark.parametrize(("annotation", "seconds"), [("", 300), ("20", 20), ("soon", 300), ("0", 300)])
def test_a_cluster_is_let_go_after_a_while_whatever_redis_says(annotation, seconds):
    annotations = {fault_tolerance.TIMEOUT_ANNOTATION: annotation}
    assert ending(cleaner("Failed"), seconds=seconds - 1, annotations=annotations).steps == ()
    finalize, told = ending(cleaner("Failed"), seconds=seconds, annotations=annotations).steps
    assert finalize == Finalize(("mine/hold",))
    assert isinstance(told, Announce)
    assert 'storage namespace "0b5c" may need manual cleanup' in told.message


def test_another_cluster_is_left_to_the_garbage_collector():
    assert teardown(Ending(cluster(), (head_pod(),), 5)).steps == ()
