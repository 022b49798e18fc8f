"""The endpoint's engine for `--where`: vLLM's server as always, with the times noted at which a request passes it.

Named by TIDEMILL_ENGINE in the pods, which mount a folder with this file in it. Writes one line for each traced
request to the file that NOTES_VARIABLE names: the request's number, when it reached the server, when its first body
went out, in monotonic seconds.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill_workloads.serving import vllm_server

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from tidemill_workloads.serving.engine import ServerSettings

NOTES_VARIABLE = "TIDEMILL_TEST_NOTES"


class TimedServer(vllm_server.VllmServer):
    """The server, timed from outside of it."""

    @property
    def app(self) -> ASGIApp:
        """The server."""
        return self._timed

    async def _timed(self, scope: Any, receive: Any, send: Any) -> None:
        reached, first = time.monotonic(), 0.0

        async def noting(message: Any) -> None:
            nonlocal first
            if not first and message.get("body"):
                first = time.monotonic()
            await send(message)

        await super().app(scope, receive, noting)
        note(dict(scope["headers"]).get(b"traceparent", b"").decode(), reached, first)


def note(trace: str, reached: float, first: float) -> None:
    """One line for a request with a trace."""
    if trace:
        with Path(os.environ[NOTES_VARIABLE]).open("a") as notes:
            notes.write(f"{int(trace.split('-')[1], 16) - 1} {reached} {first}\n")


def create(settings: ServerSettings) -> TimedServer:
    """The factory that TIDEMILL_ENGINE names."""
    return TimedServer(settings)
