"""An endpoint under loads that change, with the real Serve and a paced engine: when it grows, that it does not flap.

Moments are measured from the outside: those of requests by the client that sent them, those of decisions by a watch on
what the operator writes.
"""

import asyncio
import os
import random
import time

import pytest
from endpoint_sizes import Sizes
from endpoint_world import KEY
from request_load import Load, burst, more_at_once, percentile, waited_longer

pytestmark = [pytest.mark.cluster, pytest.mark.all, pytest.mark.timeout(400)]

DECISION_SECONDS = 3.0
"""What is promised: so soon after a target is crossed the size is decided anew."""

NOISE_SECONDS = float(os.environ.get("TIDEMILL_TEST_NOISE_SECONDS", "600"))
"""Ten minutes, unless somebody has less time."""


def up(endpoints, **spec):
    """The URL of an endpoint whose engines answer four requests at once, each in a second."""
    manifest = endpoints.manifest(
        batching={"maxSequences": 4}, environment={"TIDEMILL_TEST_TOKEN_SECONDS": "0.05"}, **spec
    )
    endpoints.apply(manifest)
    endpoints.wait_condition("Ready", "True")
    return endpoints.url()


def steady(load, endpoints):
    """The load before the step: some answers came, and nobody waited."""
    endpoints.wait(lambda: len(load.requests) > 2 * load.clients, what="the load before the step")


def test_a_request_that_waits_longer_than_the_target_age_makes_it_grow_within_3_seconds(endpoints, figure):
    scaling = {"targetQueueDepth": 1000, "targetQueueAgeMilliseconds": 1000}
    url = up(endpoints, replicas={"min": 1, "max": 2}, scaling=scaling)
    with Sizes(endpoints) as sizes, Load(url, KEY, clients=3, streams=True) as load:
        steady(load, endpoints)
        assert sizes.now == 1
        load.clients = 16
        endpoints.wait(lambda: sizes.now == 2, 30, "the decision")
        endpoints.wait_running(2)  # a pod that waits for Ray's head when its cluster goes is heard by nobody
    seconds = sizes.reached(2) - waited_longer(load.requests, 1.0)
    figure("from the target age to the decision", seconds)
    assert seconds <= DECISION_SECONDS
    assert not load.faults


def test_more_requests_than_the_target_depth_make_it_grow_within_3_seconds(endpoints, figure):
    scaling = {"targetQueueDepth": 4, "targetQueueAgeMilliseconds": 60_000}
    url = up(endpoints, replicas={"min": 1, "max": 2}, scaling=scaling)
    with Sizes(endpoints) as sizes, Load(url, KEY, clients=2) as load:
        steady(load, endpoints)
        assert sizes.now == 1
        load.clients = 8
        endpoints.wait(lambda: sizes.now == 2, 30, "the decision")
        endpoints.wait_running(2)
        answering = time.time()
    crossed = more_at_once(load.requests, 4)
    figure("from the target depth to the decision", sizes.reached(2) - crossed)
    figure("from the target depth to two replicas that answer", answering - crossed)
    assert sizes.reached(2) - crossed <= DECISION_SECONDS
    assert not load.faults


@pytest.mark.timeout(NOISE_SECONDS + 300)
def test_ten_minutes_of_noisy_load_do_not_make_it_flap(endpoints, figure):
    """The clients change every two seconds: mostly 5 to 8, which two replicas hold; bursts of 11 and lulls of 1."""
    scaling = {"targetQueueDepth": 4, "targetQueueAgeMilliseconds": 3000, "scaleDown": {"stabilizationSeconds": 30}}
    url = up(endpoints, replicas={"min": 1, "max": 4}, scaling=scaling)
    noise = random.Random(4)
    with Sizes(endpoints) as sizes, Load(url, KEY, clients=5) as load:
        until = time.time() + NOISE_SECONDS
        while time.time() < until:
            load.clients = noise.choices([noise.randint(5, 8), 11, 1], weights=[8, 1, 1])[0]
            time.sleep(2)
    figure("requests answered in it", len(load.requests), "")
    figure("p99 of an answer", percentile((request.seconds for request in load.requests), 0.99))
    figure("sizes in it", len(sizes.seen), "")
    figure("turns", sizes.turns, "")
    assert max(size for _, size in sizes.seen) >= 2, "a load for one replica would say nothing"
    assert sizes.turns <= 1, sizes.seen
    assert not load.faults


def test_all_that_comes_while_it_sleeps_or_falls_asleep_is_held_and_answered(endpoints, figure):
    scaling = {"targetQueueDepth": 4, "scaleDown": {"stabilizationSeconds": 1}, "scaleToZeroAfterSeconds": 3}
    url = up(endpoints, replicas={"min": 0, "max": 2}, scaling=scaling)
    for state in ("pods are just leaving", "all pods are gone"):
        endpoints.wait_running(0)
        if state == "all pods are gone":
            endpoints.wait(lambda: not endpoints.pods("worker", leaving=True), what="the last pod's end")
        held = asyncio.run(burst(url, KEY, 12, 20))
        figure(f"12 requests answered that came when {state}", max(request.seconds for request in held))
        assert not [request for request in held if request.fault]


def test_a_deleted_endpoint_answers_what_it_has_and_leaves_nothing(endpoints, figure):
    url = up(endpoints)
    with Load(url, KEY, clients=8, tokens=100) as load:
        endpoints.wait(lambda: len(load.requests) >= 8, what="the first answers")
        load.clients = 0  # none asks again, and eight requests of five seconds are under way
        deleted = time.time()
        endpoints.kubectl("delete", "rte", "chat", "-n", endpoints.namespace)
    under_way = [request for request in load.requests if request.ended > deleted]
    figure("requests under way when it was deleted", len(under_way), "")
    assert len(under_way) >= 4
    assert not load.faults
    endpoints.wait(lambda: not endpoints.children(), 60, "the end of everything")
    figure("everything gone after", time.time() - deleted)
