"""Whether clients are to leave this ingress replica: its answers then close their connections, and idle ones end.

A Service leads new connections elsewhere, but clients keep the ones they have, and would ask here until the replica is
stopped with their requests in it: at an old revision without engines these would be held for nobody. Two parties say
when to leave: Serve, by the health route of this replica, as it tells a balancer; and the operator, by
`IngressSettings`, once the Service leads to another revision.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

import urllib3

from tidemill_workloads.serving.pod_server import close_idle_connections

if TYPE_CHECKING:
    from starlette.types import Scope

log = logging.getLogger(__name__)

HEALTH_ROUTE = "/-/healthz"
"""Serve's own: 200 while this replica is to be asked, 503 from the moment it has to go."""

LOOK_SECONDS = 1.0
"""Far less than the time that a leaving replica still answers (RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S)."""


@dataclass(slots=True)
class Leaving:
    """`told` is the operator's word, `draining` Serve's."""

    told: bool = False
    draining: bool = False
    _door: tuple[str, int] | None = None

    @property
    def now(self) -> bool:
        """Whether an answer that goes out now closes its connection."""
        return self.told or self.draining

    def came_in(self, scope: Scope) -> None:
        """Where requests come in is known from the first one; before that nobody has to leave."""
        if self._door is None:
            self._door = scope.get("server")

    async def follow(self) -> None:
        """Looks again and again, in a thread, at what Serve says of this replica; if it goes, idle connections end."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self.now:
                close_idle_connections()
            if self._door is not None and not self.draining:
                self.draining = await asyncio.to_thread(_says_leave, *self._door)
                if self.draining:
                    log.info("this ingress has to go: its answers close their connections")


def _says_leave(host: str, port: int) -> bool:
    """Whether the health route sends balancers away. No answer is no word."""
    try:
        with urllib3.HTTPConnectionPool(host, port, timeout=LOOK_SECONDS, retries=False) as door:
            return door.request("GET", HEALTH_ROUTE).status == HTTPStatus.SERVICE_UNAVAILABLE
    except urllib3.exceptions.HTTPError:
        return False
