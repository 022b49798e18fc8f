"""Parts of an endpoint die under load: who loses a request by it, and how long until all is as it was.

Beside the load on the Service each pod's own ingress replica gets a load, so that a request's way is known. What may
be lost: requests whose connection ends at what died, and streams that had begun on an engine that died.
"""

import time
from contextlib import ExitStack

import pytest
from chaos_faults import host_address
from endpoint_world import KEY
from redis_servers import RedisServer
from request_load import Load

pytestmark = [pytest.mark.cluster, pytest.mark.all, pytest.mark.timeout(560)]

SLOW = {"TIDEMILL_TEST_TOKEN_SECONDS": "0.05"}
PASSWORD = "redis-password-of-this-test"


def name_of(pod):
    return pod["metadata"]["name"]


class Ways:
    """Loads on an endpoint by the way they take: the Service, or the ingress replica of one pod."""

    def __init__(self, stack, endpoints, faults):
        (head,) = endpoints.pods("head")
        self.workers = [name_of(pod) for pod in endpoints.pods("worker")]
        self.head = name_of(head)
        urls = {"service": endpoints.url()} | {pod: faults.door(pod) for pod in (self.head, *self.workers)}
        self.loads = {
            way: stack.enter_context(Load(url, KEY, clients=4 if way == "service" else 2, tokens=40))
            for way, url in urls.items()
        }
        endpoints.wait(lambda: all(len(load.requests) > 5 for load in self.loads.values()), what="a load on every way")

    def failed(self, since):
        """The requests that failed and ended after this moment, by their way."""
        failed = {way: [one for one in load.faults if one.ended >= since] for way, load in self.loads.items()}
        return {way: requests for way, requests in failed.items() if requests}

    def engines(self, since, until=float("inf")):
        """The engine processes that gave whole answers to requests which were sent in this time."""
        answers = [one for load in self.loads.values() for one in load.since(since)]
        return {one.engine for one in answers if not one.fault and one.sent < until}


def on(pod, engines):
    """Those of these engine processes that run on this pod."""
    return {one for one in engines if one.startswith(f"{pod}/")}


def counted(failed):
    return sum(len(requests) for requests in failed.values())


def strike(ways, endpoints, figure, kill, what):
    """Loses something; waits until as many engines answer as before. Returns the moment of the loss."""
    moment = kill()
    endpoints.wait(lambda: endpoints.status()["readyReplicas"] < 2, 60, f"the status to tell of {what}")
    figure(f"after {what}, the status tells of it after", time.time() - moment)
    endpoints.wait_running(2)
    figure(f"after {what}, as many replicas as before after", time.time() - moment)
    return moment


def only_streams_on(failed, pod):
    """All of these had begun to answer on an engine of this pod: nothing else may be lost with an engine."""
    others = [one for requests in failed.values() for one in requests if not one.engine.startswith(f"{pod}/")]
    assert others == []
    assert all(one.stream and one.first_byte for requests in failed.values() for one in requests)


def test_what_dies_costs_only_the_requests_that_were_on_it_and_comes_back(endpoints, endpoint_faults, figure):
    spec = {"replicas": {"min": 2, "max": 2}, "batching": {"maxSequences": 4}}
    endpoints.bring_up(endpoints.manifest(environment=SLOW, **spec))
    with ExitStack() as stack:
        ways = Ways(stack, endpoints, endpoint_faults)
        pod = ways.workers[0]

        killed = strike(ways, endpoints, figure, lambda: endpoint_faults.kill_engine(pod), "a killed engine")
        failed = ways.failed(killed)
        figure("requests lost with an engine", counted(failed), "requests")
        only_streams_on(failed, pod)
        before = ways.engines(0, until=killed)
        assert on(pod, before), "it had answered nothing"
        endpoints.wait(lambda: on(pod, ways.engines(killed) - before), 30, "an answer of the new engine")

        killed = endpoint_faults.kill_ingress(pod)
        door = ways.loads[pod]
        endpoints.wait(lambda: any(not one.fault for one in door.since(killed + 1)), what="the ingress replica again")
        figure("a killed ingress replica answers again after", min(o.ended for o in door.since(killed + 1)) - killed)
        failed = ways.failed(killed)
        figure("requests lost with an ingress replica, on the Service", len(failed.get("service", [])), "requests")
        assert set(failed) <= {pod, "service"}, failed

        killed = strike(ways, endpoints, figure, lambda: endpoint_faults.kill_pod(pod), "a killed worker pod")
        failed = ways.failed(killed)
        figure("requests lost with a worker pod, at its own door", len(failed.pop(pod)), "requests")
        on_the_service = failed.pop("service", [])
        figure("on the Service", len(on_the_service), "requests")
        figure("and on the ways past it", counted(failed), "requests")
        only_streams_on(failed, pod)
        assert all(one.sent < killed + 2 for one in on_the_service), on_the_service


def outage(load, since):
    """From the first to the last request that failed after this moment, in seconds; 0 where none did."""
    failed = [one for one in load.faults if one.ended >= since]
    return max((one.ended for one in failed), default=0) - min((one.ended for one in failed), default=0)


def test_an_endpoint_that_loses_its_head_rebuilds_itself(endpoints, endpoint_faults, figure):
    endpoints.bring_up(endpoints.manifest(environment=SLOW))
    (head,) = endpoints.pods("head")
    with Load(endpoints.url(), KEY, clients=4, tokens=40) as load:
        endpoints.wait(lambda: len(load.requests) > 5, what="a load that is under way")
        killed = endpoint_faults.kill_pod(name_of(head))
        endpoints.wait(lambda: endpoints.condition("Ready")["status"] != "True", 60, "the status to tell of it")
        figure("the status tells of a lost head after", time.time() - killed)
        endpoints.wait_condition("Ready", "True", seconds=200)
        figure("the endpoint is ready again after", time.time() - killed)
        healed = time.time()
        endpoints.wait(lambda: len(load.since(healed)) > 20, what="answers after all of it")
    figure("requests failed", len(load.faults), "requests")
    figure("of all", len(load.requests), "requests")
    figure("from the first failed request to the last", outage(load, killed))
    assert not [one for one in load.faults if one.sent > healed + 5]


@pytest.fixture
def redis(endpoint_faults, tmp_path):
    """A Redis server that pods reach, its password in the endpoint's namespace."""
    endpoints = endpoint_faults.endpoints
    words = ("create", "secret", "generic", "redis", f"--from-literal=password={PASSWORD}")
    endpoints.kubectl(*words, "-n", endpoints.namespace)
    with RedisServer(host_address(endpoint_faults.state), PASSWORD, tmp_path) as server:
        yield server
        endpoints.kubectl("delete", "rte", "--all", "-n", endpoints.namespace, "--timeout=90s", timeout=100)
        endpoints.wait(lambda: server.keys() == 0, 200, "Redis to be left empty")
        # Workers would wait ten minutes for a head that keeps its tables: Serve is told to end, and they go before it.
        endpoints.wait(lambda: not endpoints.pods("worker", leaving=True), 120, "the end of the workers")


def test_traffic_survives_a_restart_of_the_head_where_redis_keeps_its_tables(endpoints, endpoint_faults, redis, figure):
    tolerance = {"redisAddress": redis.address, "passwordSecretRef": {"name": "redis", "key": "password"}}
    spec = {"replicas": {"min": 2, "max": 2}, "gcsFaultTolerance": tolerance}
    endpoints.bring_up(endpoints.manifest(environment=SLOW, **spec))
    assert redis.keys() > 0
    with ExitStack() as stack:
        ways = Ways(stack, endpoints, endpoint_faults)
        engines = ways.engines(0)
        killed = endpoint_faults.kill_pod(ways.head)
        endpoints.wait(lambda: endpoints.condition("Ready")["status"] != "True", 60, "the status to tell of it")
        figure("the status tells of a lost head after", time.time() - killed)
        endpoints.wait_condition("Ready", "True", seconds=200)
        healed = time.time()
        figure("all is as it was after", healed - killed)
        door = ways.loads[ways.head]
        endpoints.wait(lambda: any(not one.fault for one in door.since(killed)), what="the head's ingress replica")
        endpoints.wait(lambda: len(ways.loads["service"].since(healed)) > 20, what="answers after all of it")
        failed = ways.failed(killed)
    figure("requests lost on the Service", len(failed.get("service", [])), "requests")
    figure("requests answered meanwhile", counted({w: x.since(killed) for w, x in ways.loads.items()}), "requests")
    assert not [way for way in failed if way in ways.workers], failed
    assert ways.engines(healed) <= engines, "an engine was started anew"
    assert all(one.sent < killed + 2 for one in failed.get("service", [])), failed["service"]
