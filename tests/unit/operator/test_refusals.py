"""What is refused for good is tried again later and later, and nobody has to look for why."""

from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from unit.operator.builders import T0, condition, look, make_cluster, make_job, message, reasons

from tidemill_api.conditions import ConditionType
from tidemill_api.job_contract import JobConfig
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_operator.cache import Key
from tidemill_operator.core.attempts import refused_backoff
from tidemill_operator.errors import RayRefusedError, RayUnavailableError
from tidemill_operator.ray_api import HeadAddress, RayApi
from tidemill_operator.refusals import Refusals

PROGRESSING = ConditionType.PROGRESSING
KEY = Key("team", "tickets")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_refused_change_waits_twice_as_long_each_time_up_to_a_minute():
    clock = Clock()
    refusals = Refusals(clock)
    tries = []
    for second in range(400):
        clock.now = second
        if not refusals.waiting(KEY):
            tries.append(second)
            refusals.refused(KEY)
    assert tries == [0, 2, 6, 14, 30, 62, 122, 182, 242, 302, 362]


def test_a_change_that_was_taken_starts_over():
    refusals = Refusals(Clock())
    refusals.refused(KEY)
    assert refusals.waiting(KEY)
    assert not refusals.waiting(Key("team", "other"))
    refusals.forget(KEY)
    assert not refusals.waiting(KEY)


@pytest.mark.parametrize(
    ("lasted", "wait"), [(None, 2), (0, 2), (1, 2), (3, 3), (30, 30), (59, 59), (60, 60), (7200, 60)]
)
def test_ray_is_left_alone_for_as_long_as_it_has_refused(lasted, wait):
    since = None if lasted is None else T0 - timedelta(seconds=lasted)
    assert refused_backoff(since, T0) == timedelta(seconds=wait)


def test_a_driver_that_ray_refuses_is_said_at_once_and_asked_for_again_and_again_later():
    status, tries, after = None, [], 5.0
    while after < 200:
        said = look(
            after=timedelta(seconds=after),
            status=status,
            cluster=make_cluster(),
            submit_problem="HTTP 400 runtime_env",
            submit_refused=True,
        )
        assert condition(said, PROGRESSING) == ("Unknown", "RayUnreachable")
        assert "does not take the driver: HTTP 400 runtime_env. Tried again at 2026-01-01T12:" in message(
            said, PROGRESSING
        )
        assert reasons(said).count("RayUnreachable") == (1 if status is None else 0)
        assert said.status.driver.attempt == 0
        tries.append(after)
        status, after = said.status, after + said.recheck_after.total_seconds()
    assert tries == [5, 7, 9, 13, 21, 37, 69, 129, 189]


def test_a_driver_that_is_refused_does_not_outlive_the_window():
    job = make_job()
    short = look(
        after=timedelta(hours=3, minutes=59, seconds=59),
        job=replace(job, status=look().status),
        cluster=make_cluster(),
        submit_problem="HTTP 400",
        submit_refused=True,
    )
    assert short.recheck_after == timedelta(seconds=1)


CONFIG = JobConfig(
    namespace="team",
    name="tickets",
    attempt=1,
    model=ModelSpec(name="m", source="org/m"),
    input_uri="/data/in.jsonl",
    output_uri="/data/out/",
    workers_max=1,
    gpus_per_worker=0,
)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, RayRefusedError),
        (422, RayRefusedError),
        (408, RayUnavailableError),
        (429, RayUnavailableError),
        (500, RayUnavailableError),
        (503, RayUnavailableError),
    ],
)
async def test_only_an_answer_that_would_be_the_same_again_is_a_refusal(code, error):
    async def unknown(_):
        return web.Response(status=404)

    async def refuse(_):
        return web.json_response({"error": "no"}, status=code)

    app = web.Application()
    app.router.add_get("/api/jobs/{id}", unknown)
    app.router.add_post("/api/jobs/", refuse)
    async with TestServer(app, host="127.0.0.1") as server, RayApi(2) as ray:
        with pytest.raises(error, match=f"HTTP {code}"):
            await ray.submit(HeadAddress("127.0.0.1", "t", dashboard_port=server.port), "uid-1", CONFIG)
