"""What a platform team does to an endpoint that serves, under load all the while: no request of anybody fails."""

import asyncio
import time
from base64 import b64encode

import pytest
from endpoint_world import KEY
from request_load import Load, burst

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(560)]

SLOW = {"TIDEMILL_TEST_TOKEN_SECONDS": "0.05"}
CALM = {"scaleDown": {"stabilizationSeconds": 3}}


def faults(load):
    """What went wrong, for a person to read; empty is what is promised."""
    return [(round(one.sent - load.requests[0].sent, 2), one.stream, one.fault) for one in load.faults]


def serve_pods(endpoints):
    """Pods of the endpoint by uid and the restarts of their containers."""
    pods = [*endpoints.pods("head"), *endpoints.pods("worker")]
    return {pod["metadata"]["uid"]: [c["restartCount"] for c in pod["status"]["containerStatuses"]] for pod in pods}


def set_keys(endpoints, **keys):
    """As a user rotates keys: the Secret is replaced."""
    data = {name: b64encode(key.encode()).decode() for name, key in keys.items()}
    metadata = {"name": "keys", "namespace": endpoints.namespace}
    endpoints.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


def lets_in(url, key):
    """Whether this key is let in now. A refusal is 401 in the shape of OpenAI's errors."""
    (asked,) = asyncio.run(burst(url, key, 1, 1))
    assert not asked.fault or (asked.fault.startswith("401") and "invalid_api_key" in asked.fault), asked.fault
    return not asked.fault


def test_no_request_fails_while_the_operator_restarts_limits_change_and_keys_are_rotated(endpoints, operator, figure):
    set_keys(endpoints, alice=KEY, bob="old-key-of-bob")
    manifest = endpoints.manifest(environment=SLOW)
    endpoints.bring_up(manifest)
    url, before, revision = endpoints.url(), serve_pods(endpoints), endpoints.status()["revision"]["serving"]
    with Load(url, KEY, clients=6) as load:
        operator.kill()
        operator.start()
        endpoints.patch({"limits": {"queueBound": 50}, "scaling": {"targetQueueDepth": 64}})
        generation = endpoints.get()["metadata"]["generation"]
        endpoints.wait(lambda: endpoints.status()["observedGeneration"] == generation, what="the new operator's look")
        operator.stop()
        operator.start()
        rotated = time.time()
        set_keys(endpoints, alice=KEY, bob="new-key-of-bob")
        endpoints.wait(lambda: lets_in(url, "new-key-of-bob"), what="bob's new key")
        endpoints.wait(lambda: not lets_in(url, "old-key-of-bob"), what="the end of bob's old key")
        figure("rotated keys count after", time.time() - rotated)
        endpoints.wait(lambda: len(load.since(rotated)) > 20, what="requests after all of it")
    figure("requests answered", len(load.requests), "requests")
    assert faults(load) == []
    assert serve_pods(endpoints) == before, "something was restarted"
    assert endpoints.status()["revision"]["serving"] == revision


@pytest.mark.all
def test_no_request_fails_while_replicas_leave_by_a_drain_of_their_node_and_by_scaling_down(
    endpoints, endpoint_faults, figure
):
    endpoints.bring_up(endpoints.manifest(replicas={"min": 2, "max": 2}, scaling=CALM, environment=SLOW))
    leaving = endpoints.pods("worker")[0]["metadata"]["name"]
    with Load(endpoints.url(), KEY, clients=8, tokens=60) as load:
        endpoints.wait(lambda: len(load.requests) > 8, what="a load that is under way")
        drained = time.time()
        with endpoint_faults.drain_node_of(leaving).running() as drain:
            endpoints.wait(lambda: drain.poll() is not None, 240, "the end of kubectl drain")
            assert drain.returncode == 0, drain.stdout.read().decode()
        figure("a drained worker has gone after", time.time() - drained)
        figure("failed requests of the drain", len(load.faults), "requests")
        endpoints.wait_running(2)
        figure("and has been replaced after", time.time() - drained)
        shrunk = time.time()
        endpoints.patch({"replicas": {"min": 1, "max": 1}})
        endpoints.wait(lambda: len(worker_names(endpoints)) == 1, 150, "one worker pod less")
        figure("a worker that is not needed has gone after", time.time() - shrunk)
        endpoints.wait_running(1)
        endpoints.wait(lambda: len(load.since(shrunk)) > 40, what="requests after all of it")
    figure("requests answered", len(load.requests), "requests")
    assert faults(load) == []


def worker_names(endpoints):
    """The worker pods that stand, those that are leaving too."""
    names = endpoints.kubectl("get", "pods", "-n", endpoints.namespace, "-l", "ray.io/node-type=worker", "-o", "name")
    return names.split()


@pytest.mark.all
def test_no_request_fails_while_a_revision_is_refused_and_while_another_one_takes_over(endpoints, figure):
    first = endpoints.manifest(environment=SLOW)
    endpoints.bring_up(first)
    old = endpoints.status()["revision"]["serving"]
    with Load(endpoints.url(), KEY, clients=6, tokens=40) as load:
        endpoints.patch({"model": {"source": "/models/refuses"}})
        said = endpoints.wait_condition("Progressing", "False", "EngineArgumentsRefused")
        assert "made to be refused" in said["message"]
        assert endpoints.condition("Available")["status"] == "True"
        assert endpoints.condition("Ready")["status"] == "False"
        assert endpoints.status()["revision"]["serving"] == old
        figure("failed requests beside a revision that is refused", len(load.faults), "requests")
        changed = time.time()
        environment = [{"name": "TIDEMILL_TEST_TOKEN_SECONDS", "value": "0.04"}]
        kept = [one for one in first["spec"]["template"]["env"] if one["name"] != environment[0]["name"]]
        endpoints.patch({"model": {"source": "/models/smollm2"}, "template": {"env": environment + kept}})
        endpoints.wait(lambda: endpoints.status()["revision"]["serving"] != old, what="the new revision")
        figure("the Service has moved after", time.time() - changed)
        endpoints.wait_condition("Ready", "True")
        moved = time.time()
        endpoints.wait(lambda: len(clusters(endpoints)) == 1, 150, "the end of the old revision")
        figure("the old revision has gone after", time.time() - moved)
        endpoints.wait(lambda: len(load.since(moved)) > 40, what="requests after all of it")
    figure("requests answered", len(load.requests), "requests")
    assert faults(load) == []


def clusters(endpoints):
    """Names of the RayClusters that stand."""
    return endpoints.kubectl("get", "rayclusters", "-n", endpoints.namespace, "-o", "name").split()
