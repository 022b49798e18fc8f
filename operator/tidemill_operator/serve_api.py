"""Talks to the Ray of an endpoint's revision: Serve's REST API on the head, and the figures of each replica.

Asks and reports, as `ray_api.py` does for jobs; refuses to decide. What does not answer is said, never made up. The
token goes into a header and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import aiohttp

from tidemill_api.endpoint_contract import APPLICATION, ENGINE_METRICS_PORT, INGRESS_METRICS_PORT
from tidemill_operator.endpoint_figures import read_engine, read_ingress
from tidemill_operator.errors import RayRefusedError, RayUnavailableError
from tidemill_operator.leadership import NO_FENCE, Fence
from tidemill_operator.pod_answers import ANSWER_BYTES, REPLICA_BYTES, json_of, origin, session, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from tidemill_operator.core.endpoint.load import IngressSample
    from tidemill_operator.core.endpoint.victims import EngineSample
    from tidemill_operator.ray_api import HeadAddress

    Json = dict[str, Any]

FIGURES_SECONDS = 1.0
"""For one replica's figures: one that is slower is as good as silent at a look each second or two."""

DEPLOY_SECONDS = 60.0
"""For the first PUT to a head: it starts Serve's controller and proxies before it answers."""

END_SECONDS = 1.0
"""For telling Serve to end."""

PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.PRECONDITION_FAILED})
"""Codes of the 4xx that ask for another try: 412 while an application is being replaced."""


@dataclass(frozen=True)
class Asked:
    """Whose figures are asked for, and where: all are those of one revision. Ports are constants but in tests."""

    endpoint: str
    revision: str
    ingress_ips: tuple[str, ...]
    engine_ips: tuple[str, ...]
    ingress_port: int = INGRESS_METRICS_PORT
    engine_port: int = ENGINE_METRICS_PORT


@dataclass(frozen=True)
class Figures:
    """The samples of the replicas that answered."""

    ingress: tuple[IngressSample, ...] = ()
    engines: tuple[EngineSample, ...] = ()


class ServeApi:
    """One HTTP session for all heads and pods, whose writes ask the fence first; an async context manager.

    `clock` is UTC with fractions of a second.
    """

    def __init__(self, timeout_seconds: float, clock: Callable[[], datetime], fence: Fence = NO_FENCE) -> None:
        self._fence = fence
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=timeout_seconds / 2)
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = session(self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def details(self, head: HeadAddress) -> Json:
        """What Serve says of everything. Raises RayUnavailableError."""
        status, answer = await self._call(head, "GET", "api/serve/applications/")
        if status != HTTPStatus.OK or not isinstance(answer, dict):
            raise RayUnavailableError(f"{head.ip}: Serve answered HTTP {status} {_short(answer)}")
        return answer

    async def deploy(self, head: HeadAddress, config: Json) -> None:
        """Tells Serve what to run. Raises RayUnavailableError, or RayRefusedError for what it will never take."""
        await self._told(head, "PUT", "api/serve/applications/", config, DEPLOY_SECONDS)

    async def scale(self, head: HeadAddress, deployment: str, replicas: int) -> None:
        """Sets a deployment's replicas. Raises RayUnavailableError, or RayRefusedError for what it will never take."""
        path = f"api/v1/applications/{APPLICATION}/deployments/{deployment}/scale"
        await self._told(head, "POST", path, {"target_num_replicas": replicas})

    async def end(self, head: HeadAddress) -> None:
        """Tells Serve to let each replica answer what it has, and to end. Raises as `deploy`.

        Serve takes it at once and answers when it has ended, which nobody waits for.
        """
        await self._told(head, "DELETE", "api/serve/applications/", None, END_SECONDS)

    async def figures(self, asked: Asked) -> Figures:
        """The figures of all these replicas at once; those that do not answer are left out."""
        ingress = asyncio.gather(*(self._ingress(asked, ip) for ip in _each_once(asked.ingress_ips)))
        engines = asyncio.gather(*(self._engine(asked, ip) for ip in _each_once(asked.engine_ips)))
        of_ingress, of_engines = await asyncio.gather(ingress, engines)
        return Figures(tuple(s for s in of_ingress if s is not None), tuple(s for s in of_engines if s is not None))

    async def _ingress(self, asked: Asked, ip: str) -> IngressSample | None:
        now = self._clock()
        text = await self._text(ip, asked.ingress_port)
        return read_ingress(text, asked.endpoint, asked.revision, now) if text is not None else None

    async def _engine(self, asked: Asked, ip: str) -> EngineSample | None:
        now = self._clock()
        text = await self._text(ip, asked.engine_port)
        return read_engine(text, asked.endpoint, asked.revision, now, ip) if text is not None else None

    async def _text(self, ip: str, port: int) -> str | None:
        timeout = aiohttp.ClientTimeout(total=FIGURES_SECONDS)
        try:
            url = f"{origin(ip, port)}/metrics"
            async with self._open().get(url, timeout=timeout, allow_redirects=False) as response:
                return await text_of(response, REPLICA_BYTES) if response.status == HTTPStatus.OK else None
        except (TimeoutError, aiohttp.ClientError, OSError, RayUnavailableError):
            return None

    async def _told(
        self, head: HeadAddress, method: str, path: str, body: Json | None, seconds: float | None = None
    ) -> None:
        status, answer = await self._call(head, method, path, body, seconds)
        if status == HTTPStatus.OK:
            return
        refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in PASSING
        error = RayRefusedError if refused else RayUnavailableError
        raise error(f"{head.ip}: Serve answered {method} {path} with HTTP {status} {_short(answer)}")

    async def _call(
        self, head: HeadAddress, method: str, path: str, body: Json | None = None, seconds: float | None = None
    ) -> tuple[int, Json | str]:
        url = f"{origin(head.ip, head.dashboard_port)}/{path}"
        timeout = aiohttp.ClientTimeout(total=seconds) if seconds is not None else self._timeout
        headers = {"Authorization": f"Bearer {head.token}"}
        if method != "GET":
            self._fence.check()
        asked = self._open().request(method, url, json=body, headers=headers, timeout=timeout, allow_redirects=False)
        try:
            async with asked as response:
                text = await text_of(response, ANSWER_BYTES)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise RayUnavailableError(f"{head.ip}: Serve does not answer ({error or type(error).__name__})") from error
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise RayUnavailableError(f"{head.ip} refused the operator's token (HTTP {response.status})")
        return response.status, _json(text)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("ServeApi is used outside of its context")
        return self._session


def _each_once(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ip for ip in addresses if ip))


def _json(text: str) -> Json | str:
    answer = json_of(text)
    return answer if isinstance(answer, dict) else text


def _short(answer: Json | str) -> str:
    return (answer if isinstance(answer, str) else json.dumps(answer))[:300]
