"""Looks at an endpoint while the demo goes on: `kubectl get --watch` in a thread, its pods' gauges each second."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx

from demo.errors import DemoError
from demo.realtime.observing import Moment, Timeline, observe, sum_up
from tidemill_api.endpoint_contract import INGRESS_METRICS_PORT
from tidemill_api.labels import ENDPOINT_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from demo.kubectl import Kubectl
    from demo.realtime.endpoint import DemoEndpoint

LOOK_SECONDS = 1.0
PODS_SECONDS = 4.0
"""Pods come and go seldom: their addresses are asked for so often."""


class Follower:
    """Fills a timeline from one endpoint of one cluster. Refuses to judge what it sees."""

    def __init__(self, kubectl: Kubectl, endpoint: DemoEndpoint) -> None:
        self.timeline = Timeline()
        self._kubectl, self._endpoint = kubectl, endpoint
        self._over = threading.Event()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[Timeline]:
        """The timeline, growing as long as the context lasts."""
        watching = threading.Thread(target=self._watch, name="watch", daemon=True)
        watching.start()
        looking = asyncio.create_task(self._look())
        try:
            yield self.timeline
        finally:
            self._over.set()
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            watching.join()

    def _watch(self) -> None:
        name, namespace = self._endpoint.name, self._endpoint.namespace
        for event in self._kubectl.watch("realtimeendpoint", namespace, name, silence=LOOK_SECONDS):
            if self._over.is_set():
                return
            if event is not None and event["type"] in ("ADDED", "MODIFIED"):
                self.timeline.versions.append((time.monotonic(), observe(event["object"])))

    async def _look(self) -> None:
        pods: list[str] = []
        asked = 0.0
        async with httpx.AsyncClient(timeout=LOOK_SECONDS) as client:
            while True:
                began = time.monotonic()
                if began - asked >= PODS_SECONDS:
                    pods, asked = await asyncio.to_thread(self._pods), began
                texts = await asyncio.gather(*(_figures(client, pod) for pod in pods))
                gauges = sum_up(text for text in texts if text)
                self.timeline.moments.append(Moment(time.monotonic(), self.timeline.seen, gauges))
                await asyncio.sleep(max(LOOK_SECONDS - (time.monotonic() - began), 0.0))

    def _pods(self) -> list[str]:
        """The addresses of the endpoint's pods; none where the API server does not answer."""
        wanted = ("-n", self._endpoint.namespace, "-l", f"{ENDPOINT_NAME}={self._endpoint.name}")
        try:
            return self._kubectl.run("get", "pods", *wanted, "-o", "jsonpath={.items[*].status.podIP}").split()
        except DemoError:
            return []


async def _figures(client: httpx.AsyncClient, pod: str) -> str:
    """The Prometheus text of the ingress on a pod; empty where there is none yet, or none any more."""
    try:
        answer = await client.get(f"http://{pod}:{INGRESS_METRICS_PORT}/metrics")
    except httpx.HTTPError:
        return ""
    return answer.text if answer.is_success else ""
