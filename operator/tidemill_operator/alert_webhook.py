"""Receives Alertmanager's notifications and writes what they ask for onto the objects: the scaling boost.

A port of its own with a bearer token from a file, since what comes in costs money. What is asked for stands on the
object and nowhere else, so any replica of the operator may receive it and a restart forgets nothing. Refuses to scale:
the laws read the annotation at their next look, which its watch event brings about.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tidemill_api.labels import SCALING_BOOST
from tidemill_api.v1alpha1.batch_inference_job import KIND as JOB_KIND
from tidemill_operator.alert_notification import Asked, Target, read_notification
from tidemill_operator.cluster import ENDPOINTS, JOBS, Cluster
from tidemill_operator.core.alert_calls import Call, settled
from tidemill_operator.core.boost import read_boost
from tidemill_operator.errors import (
    ConfigError,
    ConflictError,
    KindMissingError,
    ObjectMissingError,
    PassingError,
    RejectedError,
)
from tidemill_operator.metrics import ALERT_NOTIFICATIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from tidemill_operator.config import Settings

    Json = dict[str, Any]

log = logging.getLogger(__name__)

PATH = "/alerts"
MOST_BYTES = 1024 * 1024
"""Of a notification. Alertmanager sends about 1 KiB for each alert."""

READ_SECONDS = 10.0
"""A notification is small: a body that takes longer is none."""

MOST_CREDENTIALS = 4096
"""Characters of the token that are read."""

TRIES = 5
"""Of one object's write, where somebody else writes it at the same time."""


@dataclass(frozen=True)
class Writer:
    """Writes boosts onto objects of the watched namespaces; none named means all."""

    cluster: Cluster
    namespaces: tuple[str, ...] = ()
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def settle(self, target: Target, calls: Sequence[Call]) -> bool:
        """Brings the object's boost to what these calls ask for; whether that changed anything.

        An object that is gone needs none. Raises PassingError where the API server cannot be asked, or others write
        the object again and again; RejectedError where the operator lacks the right.
        """
        if self.namespaces and target.namespace not in self.namespaces:
            return False
        for _ in range(TRIES - 1):
            try:
                return await self._once(target, calls)
            except ConflictError:
                continue
        return await self._once(target, calls)

    async def _once(self, target: Target, calls: Sequence[Call]) -> bool:
        try:
            metadata = (await self._get(target))["metadata"]
        except (ObjectMissingError, KindMissingError):
            log.info("an alert is about %s %s/%s, which is not there", target.kind, target.namespace, target.name)
            return False
        text = (metadata.get("annotations") or {}).get(SCALING_BOOST)
        standing, now = read_boost(text), self.now()
        wanted = settled(standing, calls, now)
        if wanted == standing and (text is None or standing is not None):
            return False
        value = wanted.to_annotation() if wanted is not None else None
        version = {"resourceVersion": metadata["resourceVersion"], "uid": metadata["uid"]}
        try:
            await self._merge(target, {"metadata": {**version, "annotations": {SCALING_BOOST: value}}})
        except (ObjectMissingError, KindMissingError):
            return False
        log.info("boost of %s is now %s", target.kind, value, extra={"key": f"{target.namespace}/{target.name}"})
        return True

    async def _get(self, target: Target) -> Json:
        if target.kind == JOB_KIND:
            return await self.cluster.get(JOBS, target.namespace, target.name)
        return await self.cluster.get(ENDPOINTS, target.namespace, target.name)

    async def _merge(self, target: Target, change: Json) -> None:
        if target.kind == JOB_KIND:
            await self.cluster.merge(JOBS, target.namespace, target.name, change)
        else:
            await self.cluster.merge(ENDPOINTS, target.namespace, target.name, change)


def application(writer: Writer, credentials: Path) -> web.Application:
    """The receiver as a web application; the token is read for each request, so that it can be changed in place."""

    async def receive(request: web.Request) -> web.Response:
        if not authorised(request.headers.get("Authorization", ""), read_credentials(credentials)):
            return _answer(HTTPStatus.UNAUTHORIZED, "a valid bearer token is needed", {"WWW-Authenticate": "Bearer"})
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = await request.read()
            asked = read_notification(body, writer.now())
        except TimeoutError:
            return _answer(HTTPStatus.REQUEST_TIMEOUT, f"the body did not come within {READ_SECONDS:.0f} s")
        except ValueError as error:
            return _answer(HTTPStatus.BAD_REQUEST, f"not a notification of Alertmanager: {error}")
        return await _carry_out(writer, asked)

    ours = web.Application(client_max_size=MOST_BYTES, middlewares=[_counted])
    ours.router.add_post(PATH, receive)
    return ours


@web.middleware
async def _counted(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
    code = HTTPStatus.INTERNAL_SERVER_ERROR.value
    try:
        response = await handler(request)
        code = response.status
    except web.HTTPException as refusal:
        code = refusal.status
        return _answer(HTTPStatus(code), refusal.reason)
    finally:
        ALERT_NOTIFICATIONS.labels(str(code)).inc()
    return response


async def _carry_out(writer: Writer, asked: Asked) -> web.Response:
    """Every object that can be written is; where one cannot for a moment, Alertmanager is asked to tell it again.

    An alert that was not taken is told of, and not asked for again: it would be the same.
    """
    changed, again = 0, []
    for why in asked.left_out:
        log.warning("an alert was not taken: %s", why)
    for target, calls in asked.calls.items():
        try:
            changed += await writer.settle(target, calls)
        except (PassingError, RejectedError) as error:
            log.warning("a boost was not written: %s", error, extra={"key": f"{target.namespace}/{target.name}"})
            again.append(f"{target.kind} {target.namespace}/{target.name}")
    if again:
        return _answer(HTTPStatus.SERVICE_UNAVAILABLE, f"could not be written, tell it again: {', '.join(again)}")
    left_out = {"leftOut": asked.left_out} if asked.left_out else {}
    return web.json_response({"objects": len(asked.calls), "changed": changed, **left_out})


def _answer(status: HTTPStatus, message: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"error": message}, status=status, headers=headers)


def authorised(header: str, token: str) -> bool:
    """Whether an Authorization header carries this token; in a time that does not depend on how much of it fits."""
    scheme, _, given = header.partition(" ")
    fits = hmac.compare_digest(given.strip().encode(errors="surrogateescape"), token.encode())
    return fits and scheme.lower() == "bearer" and bool(token)


def read_credentials(path: Path) -> str:
    """The token in the file, without white space at both ends; empty, which lets nobody in, where it cannot be read."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MOST_CREDENTIALS).strip()
    except (OSError, UnicodeDecodeError) as error:
        log.warning("the token of the alert webhook cannot be read: %s", error)
        return ""


@asynccontextmanager
async def served(settings: Settings, cluster: Cluster, namespaces: tuple[str, ...]) -> AsyncIterator[None]:
    """Receives alerts on the port of the settings while the context lasts; nothing at port 0.

    Raises ConfigError where the port is taken or there is no token.
    """
    port, credentials = settings.alerts_port, settings.alerts_credentials_file
    if not port:
        yield
        return
    if not read_credentials(credentials):
        raise ConfigError(
            f"TIDEMILL_ALERTS_CREDENTIALS_FILE={credentials}: no token can be read there; mount the Secret that"
            " Alertmanager sends as its bearer token, or set TIDEMILL_ALERTS_PORT=0"
        )
    runner = web.AppRunner(application(Writer(cluster, namespaces), credentials), access_log=None)
    await runner.setup()
    try:
        await _listen(runner, port)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104 - Alertmanager is another pod
    except OSError as error:
        raise ConfigError(f"TIDEMILL_ALERTS_PORT={port}: {error.strerror}; choose a port that is free") from error
