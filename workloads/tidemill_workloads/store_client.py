"""Requests to a bucket that outlast its bad minutes: one client a process and bucket, and the patience around a call.

Clients read their credentials and endpoint from the environment as the vendors' own tools do (AWS_*, GOOGLE_*,
STORAGE_EMULATOR_HOST), so that nothing secret is ever pickled or logged. A passing fault (no connection, 5xx, a
throttle) is tried again with back-off and jitter for minutes, and said in the log; everything else is a StoreFault.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from obstore.store import GCSStore, S3Store
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from tidemill_workloads.store_faults import LIBRARY_ERRORS, FaultKind, StoreFault, fault_of
from tidemill_workloads.url_guard import NameUnknown, UrlRefused, checked

if TYPE_CHECKING:
    from collections.abc import Callable

    from obstore.store import ClientConfig, GCSConfig, RetryConfig

log = logging.getLogger(__name__)

Store = S3Store | GCSStore
Result = TypeVar("Result")

PATIENCE_SECONDS = 300.0
"""How long a passing fault is tried again before the job waits without workers: a store's bad minute costs only time.

Below the five minutes after which a signed request or a token may have aged.
"""

LONGEST_WAIT_SECONDS = 15.0
FIRST_WAIT_SECONDS = 0.25

REQUEST_SECONDS = 120
"""For one request with its body: a part of an upload at 1 MB/s."""

SILENCE_SECONDS = 60
CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket of a kind of store, `s3` or `gs`. Picklable: each process has a client of its own."""

    scheme: str
    name: str

    def call(self, what: str, request: Callable[[Store], Result], patience_seconds: float = PATIENCE_SECONDS) -> Result:
        """The result of `request`, which may run several times. Raises StoreFault."""
        retrying = Retrying(
            retry=retry_if_exception(_passes),
            stop=stop_after_delay(patience_seconds),
            wait=wait_random_exponential(multiplier=FIRST_WAIT_SECONDS, max=LONGEST_WAIT_SECONDS),
            before_sleep=lambda state: _say(what, state),
            reraise=True,
        )
        result: Result = retrying(self._once, request)
        return result

    def _once(self, request: Callable[[Store], Result]) -> Result:
        store = client(self)
        with translated():
            return request(store)


class translated:  # noqa: N801 - reads as a phrase; a class, since the join enters it once a row
    """Turns an exception of the library into StoreFault."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, LIBRARY_ERRORS):
            raise fault_of(error) from error


def _passes(error: BaseException) -> bool:
    return isinstance(error, StoreFault) and error.kind == FaultKind.PASSING


def _say(what: str, state: RetryCallState) -> None:
    fault = state.outcome.exception() if state.outcome else None
    wait = state.next_action.sleep if state.next_action else 0.0
    log.warning("%s failed (%s); tried again in %.1f s, attempt %d", what, fault, wait, state.attempt_number + 1)


@lru_cache(maxsize=32)
def client(bucket: Bucket) -> Store:
    """The client for single requests, which are tried again around it, with fresh signatures. Raises StoreFault."""
    return _connect(bucket, {"read_timeout": timedelta(seconds=SILENCE_SECONDS)}, {"max_retries": 0})


@lru_cache(maxsize=32)
def uploading_client(bucket: Bucket) -> Store:
    """The client for multipart uploads: a part is tried again inside of the library, which alone holds the upload.

    It has no time-out for silence, since the store is silent while a part is sent. Raises StoreFault.
    """
    first, longest = timedelta(seconds=FIRST_WAIT_SECONDS), timedelta(seconds=LONGEST_WAIT_SECONDS)
    retries: RetryConfig = {
        "max_retries": 1000,
        "retry_timeout": timedelta(seconds=PATIENCE_SECONDS),
        "backoff": {"init_backoff": first, "max_backoff": longest, "base": 2},
    }
    return _connect(bucket, {}, retries)


def _connect(bucket: Bucket, timeouts: ClientConfig, retries: RetryConfig) -> Store:
    options: ClientConfig = {
        "timeout": timedelta(seconds=REQUEST_SECONDS),
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "user_agent": "tidemill",
        **timeouts,
    }
    try:
        return _built(bucket, options, retries)
    except (*LIBRARY_ERRORS, ValueError) as error:  # a setting or a file of the environment that cannot be used
        raise StoreFault(FaultKind.REFUSED, fault_of(error).detail) from error


def _built(bucket: Bucket, options: ClientConfig, retries: RetryConfig) -> Store:
    if bucket.scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
        _require_a_store("AWS_ENDPOINT_URL", endpoint)
        options["allow_http"] = endpoint.startswith("http://")
        if authority := os.environ.get("AWS_CA_BUNDLE"):  # of a store with a certificate of its own
            options["root_certificate"] = Path(authority).read_bytes()
        return S3Store(bucket.name, client_options=options, retry_config=retries)
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if not emulator:
        endpoint = os.environ.get("GOOGLE_BASE_URL", "")
        _require_a_store("GOOGLE_BASE_URL", endpoint)
        options["allow_http"] = endpoint.startswith("http://")
        return GCSStore(bucket.name, client_options=options, retry_config=retries)
    options["allow_http"] = True
    address = (emulator if "://" in emulator else f"http://{emulator}").rstrip("/")
    _require_a_store("STORAGE_EMULATOR_HOST", address)
    # Any token will do for an emulator; without one the library asks the metadata server before each write.
    emulated: GCSConfig = {"base_url": address, "bearer_token": "emulator"}
    return GCSStore(bucket.name, config=emulated, client_options=options, retry_config=retries)


def _require_a_store(variable: str, endpoint: str) -> None:
    """Raises StoreFault for an endpoint that leads to where machines keep their credentials, as no store's does.

    A store beside the driver (loopback) may be one. A name that is not known yet is the library's to report.
    """
    if not endpoint:
        return
    try:
        checked(endpoint, allow_loopback=True)
    except NameUnknown:
        return
    except UrlRefused as refused:
        raise StoreFault(FaultKind.REFUSED, f"{variable}: {refused}") from refused
