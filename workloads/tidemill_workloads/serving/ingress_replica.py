"""The ingress deployment: one replica a Ray node, without a CPU of its own. The head's lives at zero workers.

Puts the front together with what it needs and keeps that alive: keys, the talk with the ledger, figures, replies.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from tidemill_api.endpoint_contract import IngressSettings
from tidemill_workloads.logs import set_up_logging
from tidemill_workloads.serving.admission import Admission
from tidemill_workloads.serving.api_keys import ApiKeys
from tidemill_workloads.serving.desk import Desk
from tidemill_workloads.serving.dispatch import Dispatcher, Engines
from tidemill_workloads.serving.figures import IngressFigures, Labels
from tidemill_workloads.serving.front import Front, FrontSettings
from tidemill_workloads.serving.ledger_actor import LedgerClient
from tidemill_workloads.serving.model_cards import ModelCards
from tidemill_workloads.serving.pod_server import mend_the_servers_of_this_process
from tidemill_workloads.serving.replies import ReplyListener
from tidemill_workloads.serving.turnstile import Turnstile

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tidemill_api.endpoint_contract import EndpointConfig

log = logging.getLogger(__name__)


class IngressReplica:
    """One ingress. Serve asks for its ASGI application once, and runs that for each request."""

    async def __init__(self, config: EndpointConfig, engines: Any) -> None:  # type: ignore[misc] # Serve awaits it
        set_up_logging()
        mend_the_servers_of_this_process()
        labels = Labels.of_this_replica(config)
        desk = Desk()
        self._settings = FrontSettings()
        self._admission = Admission(LedgerClient(labels.replica), desk)
        self._figures = IngressFigures(labels, desk, lambda: self._admission.bound)
        keys = ApiKeys(Path(config.api_keys_folder)) if config.api_keys_folder else None
        self._listener = ReplyListener(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call] # Ray has no types
        back = Engines(engines.run, self._listener, await self._listener.start())
        dispatcher = Dispatcher(back, desk, Turnstile(), self._figures, by_priority=config.priority_scheduling)
        self._front = Front(
            ModelCards.of(config.model), keys, desk, self._admission, dispatcher, self._figures, self._settings
        )
        self._tasks = [asyncio.create_task(self._admission.run()), asyncio.create_task(self._settings.leaving.follow())]
        if keys is not None:
            self._tasks.append(asyncio.create_task(keys.follow()))
        self._figures.serve()

    async def reconfigure(self, settings: dict[str, Any]) -> None:
        """Serve's user_config: bound, timeout and the word to leave change while requests run."""
        wanted = IngressSettings.model_validate(settings)
        self._admission.bound = wanted.queue_bound
        self._settings.request_timeout_seconds = wanted.request_timeout_seconds
        self._settings.leaving.told = wanted.leaving

    async def __serve_build_asgi_app__(self) -> ASGIApp:
        """Serve's hook for the application of a deployment."""
        return self._front

    async def check_health(self) -> None:
        """Serve's look at this replica. Raises RuntimeError where one of its tasks has ended, which none does."""
        for task in self._tasks:
            if task.done():
                raise RuntimeError("a task of the ingress has ended") from task.exception()
