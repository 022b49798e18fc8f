"""One guarded HTTP request: to a checked address only, redirects followed by hand, time-outs on everything.

Sits between `url_guard` and `http_input`. Sends no credentials and no cookies, keeps nothing between requests.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

import urllib3
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from tidemill_workloads.errors import WorkloadError
from tidemill_workloads.store_client import (
    CONNECT_SECONDS,
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    PATIENCE_SECONDS,
    SILENCE_SECONDS,
)
from tidemill_workloads.url_guard import NameUnknown, Target, UrlRefused, checked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

log = logging.getLogger(__name__)

Result = TypeVar("Result")

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class HttpFault(WorkloadError):  # noqa: N818 - named for what happened, like the other errors of the workloads
    """An answer that is no content; `status` is 0 where there was no answer."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class PassingFault(HttpFault):
    """One that may be gone in a minute."""


@dataclass(frozen=True, slots=True)
class HttpClient:
    """How a job asks servers. Picklable."""

    allow_loopback: bool = False
    patience_seconds: float = PATIENCE_SECONDS

    def call(self, what: str, request: Callable[[], Result]) -> Result:
        """The result of `request`, tried again while its fault is a passing one. Raises HttpFault, UrlRefused."""
        retrying = Retrying(
            retry=retry_if_exception_type(PassingFault),
            stop=stop_after_delay(self.patience_seconds),
            wait=wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
            before_sleep=lambda state: _say(what, state),
            reraise=True,
        )
        return retrying(request)

    @contextlib.contextmanager
    def get(self, url: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer to a GET, after redirects, its body not yet read: status 2xx, 304, 412 or 416.

        Raises HttpFault for every other one, PassingFault for what may pass (within the block, too, where the
        connection ends in the middle of the body), UrlRefused for an address that no job may read.
        """
        with contextlib.ExitStack() as stack:
            for _ in range(MAX_REDIRECTS + 1):
                response = stack.enter_context(self._one(url, headers))
                if response.status not in REDIRECTS:
                    yield _useful(response)
                    return
                url = _next(url, response.headers.get("Location", ""))
            raise HttpFault(response.status, f"more than {MAX_REDIRECTS} redirects")

    @contextlib.contextmanager
    def _one(self, url: str, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        try:
            target = checked(url, self.allow_loopback)
        except NameUnknown as unknown:
            raise PassingFault(0, str(unknown)) from unknown
        fault: urllib3.exceptions.HTTPError | None = None
        for address in target.addresses:
            exchange = _Exchange(target, address)
            try:
                response = exchange.send(headers)
            except urllib3.exceptions.HTTPError as error:
                fault = error
                exchange.close()
                continue
            try:
                yield response
            except urllib3.exceptions.HTTPError as error:
                raise PassingFault(0, _word(error)) from error
            finally:
                response.close()
                exchange.close()
            return
        raise PassingFault(0, _word(fault)) from fault


@dataclass(slots=True)
class _Exchange:
    """A connection to one address, which asks and answers in the name of the host."""

    target: Target
    address: str
    pool: urllib3.HTTPConnectionPool = field(init=False)

    def __post_init__(self) -> None:
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=SILENCE_SECONDS)
        host = f"[{self.address}]" if ":" in self.address else self.address
        if self.target.scheme == "https":
            self.pool = urllib3.HTTPSConnectionPool(
                host,
                self.target.port,
                timeout=timeout,
                server_hostname=self.target.host,
                assert_hostname=self.target.host,
            )
        else:
            self.pool = urllib3.HTTPConnectionPool(host, self.target.port, timeout=timeout)

    def send(self, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer. Raises urllib3's HTTPError."""
        ours = {"Host": self.target.host_header, "Accept-Encoding": "identity", "User-Agent": "tidemill"}
        return self.pool.urlopen(
            "GET",
            self.target.path,
            headers={**ours, **headers},
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )

    def close(self) -> None:
        """Ends the connection."""
        self.pool.close()


def _useful(response: urllib3.BaseHTTPResponse) -> urllib3.BaseHTTPResponse:
    status = response.status
    if status in (200, 206, 412, 416):
        return response
    if status in PASSING or status >= 500:
        raise PassingFault(status, f"HTTP status {status}")
    raise HttpFault(status, f"HTTP status {status}")


def _next(url: str, location: str) -> str:
    if not location:
        raise HttpFault(302, "a redirect to nowhere")
    try:
        following = urljoin(url, location)
    except ValueError:
        raise HttpFault(302, "a redirect to what is no URL") from None
    if urlsplit(url).scheme.lower() == "https" and urlsplit(following).scheme.lower() != "https":
        raise UrlRefused("it redirects from https:// to a connection that is not encrypted")
    return following


def _word(error: BaseException | None) -> str:
    """What happened, without the URL, whose query may be a secret."""
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return (getattr(error.__cause__, "strerror", None) or "no connection").lower()
    if isinstance(error, urllib3.exceptions.TimeoutError):
        return "no answer in time"
    if isinstance(error, urllib3.exceptions.SSLError):
        return f"its certificate or encryption cannot be used ({' '.join(str(error).split())[:200]})"
    return "the connection ended in the middle of the answer"


def _say(what: str, state: RetryCallState) -> None:
    fault = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0.0
    log.warning("%s failed (%s); tried again in %.1f s, attempt %d", what, fault, wait, state.attempt_number + 1)
