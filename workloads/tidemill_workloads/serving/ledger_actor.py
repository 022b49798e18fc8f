"""The ledger as a Ray actor: one a cluster, on its head, made by whichever ingress replica asks first.

It holds nothing that cannot be told again: when it dies Ray starts it anew, and the next round of exchanges fills it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import ray
from ray._common.constants import HEAD_NODE_RESOURCE_NAME
from ray.exceptions import GetTimeoutError, RayError
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

from tidemill_workloads.serving.admission import LedgerUnreachable
from tidemill_workloads.serving.ledger import Ledger, Share

if TYPE_CHECKING:
    from collections.abc import Awaitable

NAME = "tidemill-waiting-requests"
NAMESPACE = "tidemill"

ANSWER_SECONDS = 1.0
"""The ledger answers within a millisecond or two; after so long a request is not kept waiting for it."""


class LedgerActor:
    """The ledger behind Ray."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    def exchange(self, replica: str, waiting: int, asked: int, bound: int) -> Share:
        """See Ledger.exchange."""
        return self._ledger.exchange(replica, waiting, asked, bound, time.monotonic())


class LedgerClient:
    """The ledger, seen from one ingress replica."""

    def __init__(self, replica: str) -> None:
        self._replica = replica
        self._actor: Any = None
        self._finding: asyncio.Task[Any] | None = None

    async def exchange(self, waiting: int, asked: int, bound: int) -> Share:
        """See RemoteLedger."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                if self._actor is None:
                    self._actor = await self._find()
                answer: Awaitable[Share] = self._actor.exchange.remote(self._replica, waiting, asked, bound)
                return await answer
        except (
            RayError,
            GetTimeoutError,
            TimeoutError,
            ValueError,
        ) as error:  # ValueError: its name is just being freed
            self._actor = None
            raise LedgerUnreachable(type(error).__name__) from error

    async def _find(self) -> Any:
        """The actor. While Ray's head is away the search stands still: it goes on in its thread, and nobody waits."""
        if self._finding is None:
            self._finding = asyncio.create_task(asyncio.to_thread(_get_or_make))
        try:
            return await asyncio.shield(self._finding)
        finally:
            if self._finding.done():
                self._finding = None


def _get_or_make() -> Any:
    options: dict[str, Any] = {
        "name": NAME,
        "namespace": NAMESPACE,
        "get_if_exists": True,
        "lifetime": "detached",
        "num_cpus": 0,
        "max_restarts": -1,
        # On the head and nowhere else: an affinity for its node is soft, and an actor on a worker keeps that pod from
        # leaving. While the head is away there is no ledger, and each ingress keeps to its share.
        "resources": {HEAD_NODE_RESOURCE_NAME: 0.001},
    }
    ledger = ray.remote(LedgerActor).options(**options).remote()
    _end_with_serve(ledger)
    return ledger


def _end_with_serve(ledger: Any) -> None:
    """Serve kills what is registered here once it has ended: a head with an actor on it drains until its deadline."""
    controller = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    controller._register_shutdown_cleanup_actor.remote(ledger)
