"""An endpoint on the dev cluster with a paced engine: up, scaled by its queue, asleep and awake, gone."""

import asyncio
import time

import pytest
from endpoint_sizes import Sizes
from endpoint_world import KEY
from request_load import Load, burst, more_at_once

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]


def test_an_endpoint_answers_grows_with_its_queue_sleeps_and_answers_the_request_that_wakes_it(endpoints, figure):
    scaling = {"targetQueueDepth": 4, "targetQueueAgeMilliseconds": 1000, "scaleToZeroAfterSeconds": 3}
    manifest = endpoints.manifest(
        replicas={"min": 0, "max": 2},
        batching={"maxSequences": 4},
        scaling=scaling,
        environment={"TIDEMILL_TEST_TOKEN_SECONDS": "0.05"},
    )
    began = time.time()
    endpoints.apply(manifest)
    endpoints.wait_condition("Ready", "True")
    figure("ready after", time.time() - began)
    url = endpoints.url()
    with Sizes(endpoints) as sizes, Load(url, KEY, clients=8) as load:
        endpoints.wait_running(2)
        answering = time.time()
        load.clients = 0
        endpoints.wait_running(0)
    assert not load.faults
    crossed = more_at_once(load.requests, 4)
    figure("two replicas wanted after", sizes.reached(2) - crossed)
    figure("two replicas answer after", answering - crossed)
    held = asyncio.run(burst(url, KEY, 3, 5))
    assert not [request for request in held if request.fault]
    figure("held requests answered after", max(request.seconds for request in held))
