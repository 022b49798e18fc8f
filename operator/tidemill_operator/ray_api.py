"""The only module that talks to Ray: its Jobs REST API on the head, and the driver's live figures.

Asks and reports; refuses to decide. What cannot be read comes back as a value that says why (an attempt whose state is
UNKNOWN, figures that are None), so that a silent source is never taken for an empty queue. The token goes into a
header and nowhere else.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from pydantic import ValidationError

from tidemill_api.job_contract import CONFIG_VARIABLE, ENTRYPOINT, METRICS_PORT, OUTCOME_PREFIX, Outcome
from tidemill_api.v1alpha1.uris import without_signatures
from tidemill_operator.core.snapshot import AttemptState, AttemptView, DriverMetrics
from tidemill_operator.driver_metrics import read_metrics
from tidemill_operator.errors import RayRefusedError, RayUnavailableError
from tidemill_operator.leadership import NO_FENCE, Fence
from tidemill_operator.pod_answers import ANSWER_BYTES, FIGURES_BYTES, json_of, origin, pieces, session, text_of

if TYPE_CHECKING:
    from tidemill_api.job_contract import JobConfig

log = logging.getLogger(__name__)

DASHBOARD_PORT = 8265
LOG_BYTES = 256 * 1024
"""How much of a log's end is kept in memory, whatever its length: the outcome is its last line."""

TAIL_LINES = 10
TAIL_CHARACTERS = 1500
"""How much of a log goes into a condition's message."""

LATEST_MS = 1 << 43
"""Milliseconds since 1970 (the year 2248): a later moment is none."""

PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
"""Codes of the 4xx that ask for another try."""

STATES = {
    "PENDING": AttemptState.ACTIVE,
    "RUNNING": AttemptState.ACTIVE,
    "STOPPED": AttemptState.STOPPED,
    "SUCCEEDED": AttemptState.ENDED,
    "FAILED": AttemptState.ENDED,
}


@dataclass(frozen=True)
class HeadAddress:
    """Where a head is and the token it asks for. The ports are constants but in tests."""

    ip: str
    token: str
    dashboard_port: int = DASHBOARD_PORT
    metrics_port: int = METRICS_PORT

    def __repr__(self) -> str:
        return f"HeadAddress({self.ip})"

    @property
    def jobs(self) -> str:
        """URL of the Jobs REST API. Raises RayUnavailableError where the address is none."""
        return f"{origin(self.ip, self.dashboard_port)}/api/jobs/"

    @property
    def metrics(self) -> str:
        """URL of the driver's figures. Raises RayUnavailableError where the address is none."""
        return f"{origin(self.ip, self.metrics_port)}/metrics"


class RayApi:
    """One HTTP session for all heads, whose writes ask the fence first; an async context manager."""

    def __init__(self, timeout_seconds: float, fence: Fence = NO_FENCE) -> None:
        self._fence = fence
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, connect=timeout_seconds / 2)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = session(self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def metrics(self, head: HeadAddress, job: str, attempt: int) -> tuple[DriverMetrics | None, str]:
        """The live figures of this attempt of the job `namespace/name`, or None and why there are none."""
        try:
            async with self._open().get(head.metrics, allow_redirects=False) as response:
                text = await text_of(response, FIGURES_BYTES)
        except RayUnavailableError as error:
            return None, f"{error}."
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return None, f"{head.metrics} does not answer ({_say(error)})."
        if response.status != HTTPStatus.OK:
            return None, f"{head.metrics} answered HTTP {response.status}."
        return read_metrics(text, job, attempt)

    async def attempt(self, head: HeadAddress, submission: str) -> AttemptView:
        """What Ray knows of this submission. An end is reported only together with its log."""
        try:
            status, body = await self._json(head, "GET", submission)
            if status == HTTPStatus.NOT_FOUND:
                return AttemptView(AttemptState.LOST)
            state = STATES.get(str(body.get("status")))
            if status != HTTPStatus.OK or state is None:
                return AttemptView(AttemptState.UNKNOWN, problem=f"HTTP {status} with status {body.get('status')}.")
            if state is AttemptState.ACTIVE:
                return AttemptView(state, submitted=_moment(body.get("start_time")))
            text = await self._log_end(head, submission)
        except RayUnavailableError as error:
            return AttemptView(AttemptState.UNKNOWN, problem=f"{error}.")
        return AttemptView(state, outcome=_outcome(text, submission), log_tail=log_tail(text))

    async def submit(self, head: HeadAddress, submission: str, config: JobConfig) -> None:
        """Submits an attempt; one that is there already is left alone.

        Raises RayUnavailableError (try again) or RayRefusedError (what was sent is wrong for this Ray). Ray answers a
        second POST of the same id with 500, so it is asked first.
        """
        status, _ = await self._json(head, "GET", submission)
        if status == HTTPStatus.OK:
            return
        if status != HTTPStatus.NOT_FOUND:
            raise RayUnavailableError(f"{head.jobs} answered HTTP {status}")
        body = {
            "entrypoint": ENTRYPOINT,
            "submission_id": submission,
            "runtime_env": {"env_vars": {CONFIG_VARIABLE: told(config)}},
            "metadata": {"job": f"{config.namespace}/{config.name}", "attempt": str(config.attempt)},
        }
        status, answer = await self._json(head, "POST", "", body)
        if status != HTTPStatus.OK:
            refused = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in PASSING
            error = RayRefusedError if refused else RayUnavailableError
            raise error(f"{head.jobs} refused attempt {config.attempt}: HTTP {status} {_short(answer)}")

    async def stop(self, head: HeadAddress, submission: str) -> None:
        """Asks Ray to stop an attempt; one that Ray does not know, or that ended, is left alone."""
        status, answer = await self._json(head, "POST", f"{submission}/stop")
        if status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            raise RayUnavailableError(f"{head.jobs} did not stop {submission}: HTTP {status} {_short(answer)}")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("RayApi is used outside of its context")
        return self._session

    async def _json(
        self, head: HeadAddress, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        url, headers = head.jobs + path, _headers(head)
        if method != "GET":
            self._fence.check()
        try:
            async with self._open().request(method, url, json=body, headers=headers, allow_redirects=False) as response:
                text = await text_of(response, ANSWER_BYTES)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise RayUnavailableError(f"{head.jobs} does not answer ({_say(error)})") from error
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise RayUnavailableError(f"{head.jobs} refused the operator's token (HTTP {response.status})")
        answer = json_of(text)
        return response.status, answer if isinstance(answer, dict) else {"text": text}

    async def _log_end(self, head: HeadAddress, submission: str) -> str:
        """The end of a log: at most LOG_BYTES of it are ever held."""
        url = f"{head.jobs}{submission}/logs"
        kept, whole = b"", True
        try:
            async with self._open().get(url, headers=_headers(head), allow_redirects=False) as response:
                if response.status != HTTPStatus.OK:
                    raise RayUnavailableError(f"{url} answered HTTP {response.status}")
                async for piece in pieces(response):
                    kept += piece
                    if len(kept) > LOG_BYTES:
                        kept, whole = kept[-LOG_BYTES:], False
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise RayUnavailableError(f"{url} does not answer ({_say(error)})") from error
        return decode_log(kept, whole=whole)


def decode_log(body: bytes, *, whole: bool) -> str:
    r"""The log in the end of Ray's answer `{"logs": "..."}`. A cut answer starts at its first whole line.

    A line's end stands in JSON as the two characters `\n`; what follows them is always a whole escape again.
    """
    text = body.decode("utf-8", errors="replace")
    try:
        if whole:
            answer = json_of(text)
            if not isinstance(answer, dict):
                raise RayUnavailableError("the log is not the JSON that Ray promises")
            return str(answer.get("logs") or "")
        end = text.rstrip().removesuffix("}").rstrip().removesuffix('"')
        return str(json.loads('"' + end.split(r"\n", 1)[-1] + '"'))
    except ValueError as error:
        raise RayUnavailableError(f"the log is not the JSON that Ray promises ({error})") from error


def log_tail(text: str) -> str:
    """The last lines of a log for people, without the outcome's line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(OUTCOME_PREFIX)]
    return without_signatures("\n".join(lines[-TAIL_LINES:]))[-TAIL_CHARACTERS:]


def _moment(milliseconds: object) -> datetime | None:
    """A moment as Ray's `JobDetails` has it, milliseconds since 1970; None where there is none."""
    if not isinstance(milliseconds, int) or not 0 < milliseconds < LATEST_MS:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _outcome(text: str, submission: str) -> Outcome | None:
    try:
        return Outcome.from_log(text)
    except ValidationError:
        log.exception("the outcome of %s cannot be read; does the image fit the operator?", submission)
        return None


def _headers(head: HeadAddress) -> dict[str, str]:
    return {"Authorization": f"Bearer {head.token}"}


def _say(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _short(answer: dict[str, Any]) -> str:
    return json.dumps(answer)[:300]


def told(config: JobConfig) -> str:
    """The configuration as the driver reads it, without what is at its default.

    The image of a cluster that was made by an earlier operator refuses fields that it does not know: one that is new
    is told only where it is needed.
    """
    return config.model_dump_json(exclude_defaults=True)
