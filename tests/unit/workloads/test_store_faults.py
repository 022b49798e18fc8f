"""From what a store and its library say to what a user is told: a table of answers as they really come."""

from __future__ import annotations

import time

import obstore.exceptions as library
import pytest

from tidemill_api.conditions import AWAITED, Reason
from tidemill_workloads.store_client import Bucket, client
from tidemill_workloads.store_faults import FaultKind, Place, StoreFault, fault_of, refusal

SECRET = "very-secret"


def answer(status: str, code: str = "", message: str = "") -> str:
    """As the library says that a store answered with this status and XML."""
    body = f"<Error><Code>{code}</Code>\n<Message>{message}</Message></Error>" if code else ""
    first = (
        f"Generic S3 error: Error performing GET http://u:{SECRET}@s/b/k in 3ms - Server returned non-2xx status code"
    )
    return f"{first}: {status}: {body}\n\nDebug source:\nGeneric {{ lots }}"


def transport(cause: str) -> str:
    """As the library says that there was no answer."""
    first = "Generic S3 error: Error performing GET http://s/b/k in 3ms - HTTP error: error sending request"
    return f"{first}\n\nDebug source:\nGeneric {{ {cause} }}"


REFUSED = 'Os {\n    code: 111,\n    kind: ConnectionRefused,\n    message: "Connection refused",\n}'

ANSWERS = [
    (library.GenericError(answer("503 Service Unavailable", "SlowDown", "Reduce")), "passing", "SlowDown: Reduce"),
    (library.GenericError(answer("500 Internal Server Error")), "passing", "HTTP status 500"),
    (library.GenericError(answer("429 Too Many Requests")), "passing", "HTTP status 429"),
    (library.GenericError(transport(REFUSED)), "passing", "connection refused"),
    (library.GenericError(transport("dns error")), "passing", "the name of the store's host is not known"),
    (library.GenericError(transport("TimedOut")), "passing", "no answer in time"),
    (library.GenericError(transport("IncompleteMessage")), "passing", "the connection was closed without an answer"),
    (library.GenericError(transport("what else")), "passing", "HTTP error: error sending request"),
    (OSError(answer("404 Not Found", "NoSuchUpload", "Gone")), "passing", "NoSuchUpload: Gone"),
    (FileNotFoundError(answer("404 Not Found", "NoSuchKey", "None")), "no_object", "NoSuchKey: None"),
    (FileNotFoundError(answer("404 Not Found")), "no_object", "HTTP status 404"),
    (FileNotFoundError(answer("404 Not Found", "NoSuchBucket", "None")), "no_bucket", "NoSuchBucket: None"),
    (library.GenericError(answer("404 Not Found", "NoSuchBucket", "None")), "no_bucket", "NoSuchBucket: None"),
    (library.AlreadyExistsError(answer("412 Precondition Failed")), "taken", "HTTP status 412"),
    (library.AlreadyExistsError(answer("409 Conflict", "ConditionalRequestConflict", "x")), "taken", ""),
    (library.PreconditionError(answer("412 Precondition Failed")), "changed", "HTTP status 412"),
    (library.PermissionDeniedError(answer("403 Forbidden", "AccessDenied", "No")), "denied", "AccessDenied: No"),
    (library.UnauthenticatedError(answer("401 Unauthorized")), "denied", "HTTP status 401"),
    (library.GenericError(answer("400 Bad Request", "ExpiredToken", "Old")), "denied", "ExpiredToken: Old"),
    (library.GenericError("DeleteObjects request failed for key a: Access Denied. (code: AccessDenied)"), "denied", ""),
    (library.GenericError("DeleteObjects request failed for key a: Busy. (code: SlowDown)"), "passing", ""),
    (library.GenericError(answer("400 Bad Request", "InvalidRequest", "Odd")), "refused", "InvalidRequest: Odd"),
    (
        library.GenericError("Received redirect without LOCATION, a wrong region"),
        "refused",
        "Received",
    ),
    (library.GenericError(transport("PUT http://169.254.169.254/latest/api/token")), "no_credentials", ""),
    (library.NotSupportedError("this store does not"), "refused", "this store does not"),
]


@pytest.mark.parametrize(("error", "kind", "says"), ANSWERS)
def test_every_answer_has_a_meaning_and_a_word_without_a_secret(error: Exception, kind: str, says: str) -> None:
    fault = fault_of(error)
    assert fault.kind == FaultKind(kind)
    assert says in fault.detail
    assert SECRET not in fault.detail
    assert "\n" not in fault.detail


@pytest.mark.parametrize("writing", [False, True])
@pytest.mark.parametrize("kind", FaultKind)
def test_every_refusal_names_the_field_and_the_place(kind: FaultKind, writing: bool) -> None:
    field = "spec.output.uri" if writing else "spec.input.uri"
    found = refusal(StoreFault(kind, "its word"), Place("s3://shop/in.jsonl", field, writing))
    assert found.reason in AWAITED
    assert found.message.startswith(f"{field}: ")
    assert "s3://shop/in.jsonl" in found.message
    assert "; " in found.message, "what to do stands after it"


@pytest.mark.parametrize(("scheme", "says"), [("s3", "AWS_ACCESS_KEY_ID"), ("gs", "GOOGLE_APPLICATION_CREDENTIALS")])
def test_missing_rights_are_said_with_what_to_set(scheme: str, says: str) -> None:
    for kind in (FaultKind.DENIED, FaultKind.NO_CREDENTIALS):
        found = refusal(StoreFault(kind, "no"), Place(f"{scheme}://shop/in.jsonl", "spec.input.uri"))
        assert found.reason == Reason.INPUT_NOT_READABLE
        assert says in found.message


def test_a_key_file_that_is_not_there_is_no_passing_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json")
    client.cache_clear()
    with pytest.raises(StoreFault) as caught:
        Bucket("gs", "shop").call("looking", lambda store: store)
    assert caught.value.kind == FaultKind.REFUSED


def test_an_answer_of_nothing_but_spaces_is_read_in_no_time():
    """The cube of its length, before."""
    began = time.perf_counter()
    fault = fault_of(library.GenericError(answer("400 Bad Request", "Odd", " " * 20_000 + "<")))
    assert time.perf_counter() - began < 5
    assert fault.detail == "Odd"
