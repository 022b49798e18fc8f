"""Clients keep their connections; a Service leads only new ones. What becomes of a kept one when its revision goes."""

import asyncio
import time
from contextlib import AsyncExitStack

import aiohttp
import pytest
from endpoint_world import KEY
from request_load import ask

pytestmark = [pytest.mark.cluster, pytest.mark.all, pytest.mark.timeout(560)]

ASLEEP_SOON = {"scaleDown": {"stabilizationSeconds": 1}, "scaleToZeroAfterSeconds": 2}
CONNECTIONS = 60
APART_SECONDS = 0.5


class Kept:
    """Connections of one client each, opened by a question that needs no engine."""

    def __init__(self, url):
        self.url, self.sessions = url, []

    async def __aenter__(self):
        self.stack = AsyncExitStack()
        for _ in range(CONNECTIONS):
            connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=300)
            headers = {"Authorization": f"Bearer {KEY}"}
            session = aiohttp.ClientSession(connector=connector, headers=headers)
            self.sessions.append(await self.stack.enter_async_context(session))
        return self

    async def __aexit__(self, *_):
        await self.stack.aclose()

    async def use_while(self, check):
        """Each is used, so that nobody closes it for being idle, as long as the check holds."""
        while await asyncio.to_thread(check):
            await asyncio.gather(*(self._look(session) for session in self.sessions))
            await asyncio.sleep(0.5)

    async def _look(self, session):
        async with session.get(f"{self.url}/models") as answer:
            assert answer.status == 200

    async def ask_one_by_one(self):
        """A whole answer over each of them, one after the other, but none waits for another's answer."""
        asked = []
        for number, session in enumerate(self.sessions):
            asked.append(asyncio.create_task(ask(session, self.url, number, 4, streamed=False)))
            await asyncio.sleep(APART_SECONDS)
        return await asyncio.gather(*asked)


def clusters(endpoints):
    """Names of the RayClusters that stand."""
    return endpoints.kubectl("get", "rayclusters", "-n", endpoints.namespace, "-o", "name").split()


def test_no_request_over_a_kept_connection_fails_while_a_sleeping_endpoint_is_rolled_over(endpoints, figure):
    """From the move of the Service until the old revision, which has no engine, has gone."""
    manifest = endpoints.manifest(replicas={"min": 0, "max": 2}, scaling=ASLEEP_SOON)
    endpoints.bring_up(manifest)
    endpoints.wait_running(0)
    (old,) = clusters(endpoints)
    serving = endpoints.status()["revision"]["serving"]

    async def run():
        async with Kept(endpoints.url()) as kept:
            beat = {"name": "TIDEMILL_TEST_TOKEN_SECONDS", "value": "0.03"}
            endpoints.patch({"template": {"env": [beat, *manifest["spec"]["template"]["env"]]}})
            await kept.use_while(lambda: endpoints.status()["revision"]["serving"] == serving)
            return time.time(), await kept.ask_one_by_one()

    moved, answers = asyncio.run(run())
    by_the_old = [one for one in answers if one.engine.startswith(old.rpartition("/")[2])]
    figure("requests sent after the Service had moved", len(answers), "requests")
    figure("over", max(one.sent for one in answers) - moved)
    figure("the sleeping revision answered of them", len(by_the_old), "requests")
    figure("the slowest of all", max(one.seconds for one in answers))
    assert [(round(one.sent - moved, 1), round(one.seconds, 1), one.fault) for one in answers if one.fault] == []
    endpoints.wait(lambda: len(clusters(endpoints)) == 1, 150, "the end of the old revision")
