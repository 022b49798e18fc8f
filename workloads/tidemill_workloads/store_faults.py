"""What went wrong at an object store, and what that means for a job: from the library's exceptions to JobRefused.

Sits between `store_client`, which meets the exceptions, and the places that know whose field is concerned. The
library's own text is a page of debug output; only the store's code and sentence, or the transport's, are passed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum, auto

import obstore.exceptions

from tidemill_api.conditions import Reason
from tidemill_workloads.errors import JobRefused, WorkloadError

LIBRARY_ERRORS = (obstore.exceptions.BaseError, OSError)
"""All that obstore raises for a request: its own tree, FileNotFoundError, and OSError from its writer."""

_CREDENTIAL_CODES = frozenset(
    {
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AuthorizationHeaderMalformed",
        "AccessDenied",
        "InvalidSecurity",
    }
)
_METADATA_SERVERS = ("169.254.169.254", "169.254.170.2", "169.254.170.23", "metadata.google.internal")
"""Where the library asks for credentials when the environment holds none."""

_PASSING_STATUS = frozenset({408, 425, 429})
_PASSING_CODES = frozenset({"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "OperationAborted"})
_HINTS = {
    "s3": (
        "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in spec.template.env from a Secret (valueFrom), "
        "or name a service account with a web identity"
    ),
    "gs": (
        "mount a service account's key and name it in GOOGLE_APPLICATION_CREDENTIALS in spec.template.env, "
        "or name a service account with workload identity"
    ),
}


class FaultKind(StrEnum):
    """What a failed request means."""

    NO_OBJECT = auto()
    NO_BUCKET = auto()
    TAKEN = auto()
    CHANGED = auto()
    DENIED = auto()
    NO_CREDENTIALS = auto()
    PASSING = auto()
    REFUSED = auto()


class StoreFault(WorkloadError):  # noqa: N818 - named for what happened, like the other errors of the workloads
    """A request that failed; `detail` is the store's or the transport's word for it, without any secret."""

    def __init__(self, kind: FaultKind, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


@dataclass(frozen=True, slots=True)
class Place:
    """An object or folder on a store, as its user named it, and the field that named it."""

    uri: str
    field: str
    writing: bool = False

    @property
    def scheme(self) -> str:
        """`s3` or `gs`."""
        return self.uri.partition("://")[0].lower()

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.uri.partition("://")[2].partition("/")[0]


def fault_of(error: Exception) -> StoreFault:
    """The fault behind an exception of the library."""
    text = str(error)
    status = _first(r"status code: (\d{3})", text)
    code = _first(r"<Code>([^<]+)</Code>", text).strip() or _first(r"\(code: (\w+)\)", text)  # of one key among many
    detail = _detail(text, status, code)
    if any(server in text for server in _METADATA_SERVERS):
        return StoreFault(FaultKind.NO_CREDENTIALS, detail)
    return StoreFault(_kind(error, text, int(status or 0), code), detail)


def _kind(error: Exception, text: str, status: int, code: str) -> FaultKind:  # noqa: PLR0911 - one line a meaning
    if code in _CREDENTIAL_CODES or status in (401, 403) or isinstance(error, _DENIALS):
        return FaultKind.DENIED
    if code == "NoSuchBucket" or "The specified bucket does not exist" in text:
        return FaultKind.NO_BUCKET
    if isinstance(error, FileNotFoundError) or status == 404 or code == "NoSuchKey":
        return FaultKind.PASSING if code == "NoSuchUpload" else FaultKind.NO_OBJECT
    if isinstance(error, obstore.exceptions.AlreadyExistsError):
        return FaultKind.TAKEN
    if isinstance(error, obstore.exceptions.PreconditionError) or status == 412:
        return FaultKind.CHANGED
    if status >= 500 or status in _PASSING_STATUS or code in _PASSING_CODES:
        return FaultKind.PASSING
    if status or code or "redirect" in text or not isinstance(error, (obstore.exceptions.GenericError, OSError)):
        return FaultKind.REFUSED
    return FaultKind.PASSING  # no answer at all: the transport


_DENIALS = (obstore.exceptions.PermissionDeniedError, obstore.exceptions.UnauthenticatedError)


_TRANSPORT = (
    ("dns error", "the name of the store's host is not known"),
    ("TimedOut", "no answer in time"),
    ("timed out", "no answer in time"),
    ("IncompleteMessage", "the connection was closed without an answer"),
)
"""Marks of the library's debug output, and what they mean."""


def _detail(text: str, status: str, code: str) -> str:
    """One short sentence in the words of whoever refused."""
    if code:
        said = _first(r"<Message>([^<]+)</Message>", text)
        return _clean(f"{code}: {said}" if said else code)
    if status:
        return f"HTTP status {status}"
    system = _first(r'Os \{\s*code: \d+,\s*kind: \w+,\s*message: "([^"]+)"', text)
    if system:
        return system.lower()
    library = text.partition("\n\nDebug source")[0].rpartition(" - ")[2]
    return next((words for mark, words in _TRANSPORT if mark in text), _clean(library))


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _clean(text: str) -> str:
    """On one line, bounded, and without what could stand before the `@` of a URL."""
    one_line = " ".join(text.split())
    return re.sub(r"://[^/@\s]+@", "://", one_line)[:300]


def refusal(fault: StoreFault, place: Place) -> JobRefused:
    """What the user is told: the field, the place, what the store said and what mends it."""
    reason, text = _explained(fault, place)
    return JobRefused(reason, f"{place.field}: {text}")


def _explained(fault: StoreFault, place: Place) -> tuple[Reason, str]:
    uri, detail = place.uri, fault.detail
    unusable = Reason.OUTPUT_NOT_WRITABLE if place.writing else Reason.INPUT_NOT_READABLE
    used = "written to" if place.writing else "read"
    hint = _HINTS.get(place.scheme, "mend the credentials")
    explained = {
        FaultKind.NO_BUCKET: (
            unusable if place.writing else Reason.INPUT_NOT_FOUND,
            f"there is no bucket {place.bucket} for {uri}; create it, or mend the URI or the endpoint",
        ),
        FaultKind.DENIED: (unusable, f"{uri} may not be {used} with the pods' credentials ({detail}); {hint}"),
        FaultKind.NO_CREDENTIALS: (unusable, f"the pods have no credentials for {uri} ({detail}); {hint}"),
        FaultKind.PASSING: (
            Reason.STORAGE_UNREACHABLE,
            f"{uri} cannot be reached ({detail}); see to the store or its endpoint",
        ),
    }
    if not place.writing:
        missing = f"there is no object {uri}; upload it or mend the URI"
        explained[FaultKind.NO_OBJECT] = (Reason.INPUT_NOT_FOUND, missing)
    other = f"{uri} cannot be {used} ({detail}); mend the URI or the store's settings in the pods"
    return explained.get(fault.kind, (unusable, other))
