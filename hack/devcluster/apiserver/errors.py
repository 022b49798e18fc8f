"""Errors as the API server answers them: each is a `Status` object with code, reason and details.

The wording follows k8s.io/apimachinery/pkg/api/errors, because kubectl, Kopf and people match on it.
Nothing here decides when an error happens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from devcluster.apiserver.objects import JsonObject


@dataclass(frozen=True)
class Cause:
    """One fault of one field.

    `reason` is a CauseType such as `FieldValueInvalid`; `message` starts with what is wrong
    (`Invalid value: 5: must be less than 3`) and does not repeat `field`.
    """

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


@dataclass(frozen=True)
class Subject:
    """What a request was about, as far as an error names it."""

    group: str = ""
    plural: str = ""
    kind: str = ""
    name: str = ""

    @property
    def qualified(self) -> str:
        """`pods` or `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


class StatusError(Exception):
    """A request that failed; `body()` is what the client reads.

    `code` is the HTTP status; `reason` a machine-readable CamelCase word such as `NotFound`.
    """

    def __init__(self, code: int, reason: str, message: str, details: JsonObject | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> JsonObject:
        """Return the `Status` object."""
        status: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status


def _details(subject: Subject, kind: str | None = None, causes: Sequence[Cause] = ()) -> JsonObject:
    details: JsonObject = {}
    if subject.name:
        details["name"] = subject.name
    if subject.group:
        details["group"] = subject.group
    details["kind"] = kind or subject.plural
    if causes:
        details["causes"] = [
            {"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes
        ]
    return details


def not_found(subject: Subject) -> StatusError:
    """404: the object does not exist."""
    return StatusError(404, "NotFound", f'{subject.qualified} "{subject.name}" not found', _details(subject))


def unknown_path() -> StatusError:
    """404: nothing is served at this path."""
    return StatusError(
        404,
        "NotFound",
        "the server could not find the requested resource",
        {"causes": [{"reason": "UnexpectedServerResponse", "message": "404 page not found"}], "code": 404},
    )


def already_exists(subject: Subject) -> StatusError:
    """409: create of a name that is taken."""
    return StatusError(409, "AlreadyExists", f'{subject.qualified} "{subject.name}" already exists', _details(subject))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(subject: Subject, why: str = MODIFIED) -> StatusError:
    """409: the write was made against another state of the object."""
    message = f'Operation cannot be fulfilled on {subject.qualified} "{subject.name}": {why}'
    return StatusError(409, "Conflict", message, _details(subject))


def apply_conflict(subject: Subject, message: str, causes: Sequence[Cause]) -> StatusError:
    """409: server-side apply would overwrite fields that other managers own."""
    return StatusError(409, "Conflict", message, _details(subject, causes=causes))


def invalid(subject: Subject, causes: Sequence[Cause]) -> StatusError:
    """422: the object breaks rules of its kind; every cause is reported."""
    lines = list(dict.fromkeys(str(cause) for cause in causes))
    summary = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    kind = f"{subject.kind}.{subject.group}" if subject.group else subject.kind
    message = f'{kind} "{subject.name}" is invalid: {summary}'
    return StatusError(422, "Invalid", message, _details(subject, kind=subject.kind, causes=causes))


def bad_request(message: str) -> StatusError:
    """400: the request itself cannot be understood."""
    return StatusError(400, "BadRequest", message)


def field_manager_required() -> StatusError:
    """422: a server-side apply that does not say who applies."""
    subject = Subject("meta.k8s.io", "", "PatchOptions")
    return invalid(
        subject, [Cause("FieldValueRequired", "fieldManager", "Required value: is required for apply patch")]
    )


def forbidden(subject: Subject, why: str, causes: Sequence[Cause] = ()) -> StatusError:
    """403: a rule of the server, not of the user's rights, stands against it."""
    message = f'{subject.qualified} "{subject.name}" is forbidden: {why}'
    return StatusError(403, "Forbidden", message, _details(subject, causes=causes))


def method_not_allowed(message: str = "the server does not allow this method on the requested resource") -> StatusError:
    """405: the resource exists, the verb does not."""
    return StatusError(405, "MethodNotAllowed", message)


def not_acceptable(message: str) -> StatusError:
    """406: none of the media types the client accepts is served."""
    return StatusError(406, "NotAcceptable", message)


def unsupported_media_type(message: str) -> StatusError:
    """415: the body's content type is not one the server reads."""
    return StatusError(415, "UnsupportedMediaType", message)


def unprocessable_patch(message: str) -> StatusError:
    """422: a patch that is well formed but cannot be applied to this object."""
    return StatusError(422, "Invalid", message)


def expired(message: str) -> StatusError:
    """410: the revision asked for is no longer kept."""
    return StatusError(410, "Expired", message)


def too_large_resource_version(asked: int, current: int) -> StatusError:
    """504: the client has seen a revision this server has not reached."""
    return StatusError(
        504,
        "Timeout",
        f"Too large resource version: {asked}, current: {current}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


def too_many_requests(message: str, causes: Sequence[Cause] = ()) -> StatusError:
    """429: try again later, without a word of when: a client told that would wait and retry by itself."""
    details = _details(Subject(), kind="", causes=causes)
    details.pop("kind")
    return StatusError(429, "TooManyRequests", message, details)


def internal(message: str) -> StatusError:
    """500: a bug of this server."""
    return StatusError(500, "InternalError", f"Internal error occurred: {message}")


def success(details: JsonObject) -> JsonObject:
    """Return the `Status` that a finished delete answers with."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
