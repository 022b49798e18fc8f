"""What the ingress says by itself when it cannot pass a request on, in the shape of OpenAI's errors. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"

TOO_MANY = 429

_LONGEST_RETRY_SECONDS = 30
_LONGEST_ECHO = 300
_MOST_NAMES = 8


@dataclass(eq=False)  # not frozen: context managers set __traceback__ on what passes them
class Refusal(Exception):  # noqa: N818 - an answer as much as an error
    """An answer of the ingress's own: an HTTP status and OpenAI's error object."""

    status: int
    message: str
    kind: str = INVALID_REQUEST
    code: str | None = None
    param: str | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def body(self) -> bytes:
        """The error as JSON."""
        error: dict[str, Any] = {
            "message": self.message,
            "type": self.kind,
            "param": self.param,
            "code": self.code,
        }
        return msgspec.json.encode({"error": error})

    @property
    def event(self) -> bytes:
        """The error as the last event of a stream that has begun."""
        return b"data: " + self.body + b"\n\n"


def _short(given: str) -> str:
    """What a client gave, as far as an answer repeats it."""
    return given if len(given) <= _LONGEST_ECHO else f"{given[:_LONGEST_ECHO]}..."


def no_key() -> Refusal:
    """A request without an API key."""
    message = "You didn't provide an API key. Provide it in the Authorization header: Authorization: Bearer YOUR_KEY."
    return Refusal(401, message, code="invalid_api_key", headers=((b"www-authenticate", b"Bearer"),))


DO_NOT_REPEAT = (b"x-should-retry", b"false")
"""OpenAI's clients send 408 and every 5xx twice again by themselves, unless this is said: a request that kills engines
would kill more of them, and one that took too long would triple the load of an endpoint that has too much."""


def wrong_key() -> Refusal:
    """An API key that is none. It is not repeated, not even in part."""
    message = "Incorrect API key provided."
    return Refusal(401, message, code="invalid_api_key", headers=((b"www-authenticate", b"Bearer"),))


def unknown_url(method: str, path: str) -> Refusal:
    """A path that is not served."""
    return Refusal(404, f"Invalid URL ({method} {_short(path)})", code="unknown_url")


def wrong_method(method: str, path: str, allowed: str) -> Refusal:
    """A path that is served under another method."""
    message = f"Not allowed to {method} on {_short(path)} (HINT: use {allowed})"
    return Refusal(405, message, code="method_not_supported", headers=((b"allow", allowed.encode()),))


def bad_body(message: str, param: str | None = None) -> Refusal:
    """A body that no engine has to see."""
    return Refusal(400, message, param=param, code="invalid_body")


def too_large(limit: int) -> Refusal:
    """A body beyond what is read."""
    return Refusal(413, f"The request body is larger than {limit} bytes.", code="request_too_large")


def headers_too_large(limit: int) -> Refusal:
    """Headers beyond any use."""
    return Refusal(431, f"The request's headers are larger than {limit} bytes.", code="headers_too_large")


def unknown_model(model: str, served: Sequence[str]) -> Refusal:
    """A model that is not served here; of those that are the first few are named."""
    named = ", ".join(f"'{name}'" for name in served[:_MOST_NAMES]) + (", ..." if len(served) > _MOST_NAMES else "")
    message = f"The model '{_short(model)}' does not exist or is not served here; this endpoint serves {named}."
    return Refusal(404, message, code="model_not_found", param="model")


def queue_full(bound: int, oldest: float) -> Refusal:
    """More requests wait than may. `oldest` seconds is what the oldest of them waits already: so long a queue is."""
    return _come_again("queue_full", f"{bound} requests wait already, which is this endpoint's bound", oldest)


def bodies_full(limit: int, oldest: float) -> Refusal:
    """The bodies that are here take all the memory that there is for them; `oldest` as in `queue_full`."""
    return _come_again("bodies_full", f"The requests that are here already are {limit} bytes together", oldest)


def _come_again(code: str, why: str, oldest: float) -> Refusal:
    seconds = min(_LONGEST_RETRY_SECONDS, max(1, math.ceil(oldest)))
    headers = ((b"retry-after", str(seconds).encode()),)
    message = f"{why}; try again in {seconds} s."
    return Refusal(TOO_MANY, message, kind="rate_limit_error", code=code, headers=headers)


def timed_out(seconds: float) -> Refusal:
    """A request that took longer than it may."""
    return _too_late(f"The request took longer than {seconds:g} s.")


def body_too_slow(seconds: float) -> Refusal:
    """A body of which nothing more came for so long."""
    return _too_late(f"Nothing more of the request body came for {seconds:g} s.")


def head_too_slow(seconds: float) -> Refusal:
    """A request whose headers do not come to an end."""
    return _too_late(f"The request's headers were not whole after {seconds:g} s.")


def _too_late(message: str) -> Refusal:
    return Refusal(408, message, kind="timeout_error", code="request_timeout", headers=(DO_NOT_REPEAT,))


def engine_lost() -> Refusal:
    """The engine that ran a request is gone, and so is the answer; the second engine, where there was time for one."""
    message = "The engine that ran this request was lost before its answer was whole; send it again."
    return Refusal(503, message, kind=SERVER_ERROR, code="engine_lost", headers=(DO_NOT_REPEAT,))


def no_engine() -> Refusal:
    """No engine starts: Serve has given up until the operator has it try again."""
    message = "No engine of this endpoint starts; the conditions of the RealtimeEndpoint say why."
    headers = ((b"retry-after", b"30"),)
    return Refusal(503, message, kind=SERVER_ERROR, code="no_engine", headers=headers)
