"""What the API server answers, and the error that each answer stands for."""

import json

import pytest

from tidemill_operator.cluster import JOBS, PODS, read_answer
from tidemill_operator.errors import (
    ApiUnavailableError,
    ConflictError,
    KindMissingError,
    ObjectMissingError,
    RejectedError,
)


def status(code, message="said", **details):
    return code, json.dumps({"kind": "Status", "code": code, "message": message, "details": details}).encode()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(404, name="tickets", kind="batchinferencejobs"), ObjectMissingError),
        (status(404), KindMissingError),
        ((404, b"404 page not found\n"), KindMissingError),
        (status(409, name="tickets"), ConflictError),
        (status(400), RejectedError),
        (status(403, name="tickets"), RejectedError),
        (status(422, name="tickets"), RejectedError),
        (status(401), ApiUnavailableError),
        (status(429), ApiUnavailableError),
        (status(500), ApiUnavailableError),
        ((503, b"upstream is gone"), ApiUnavailableError),
        ((200, b"<html>"), ApiUnavailableError),
    ],
)
def test_an_answer_is_named_by_what_has_to_be_done_about_it(answer, error):
    with pytest.raises(error):
        read_answer("GET", "/x", *answer)


def test_a_name_stays_one_part_of_a_path_whatever_is_in_it():
    path = JOBS.path("a/b", "../../secrets/s?x#y%2f")
    assert path == f"{JOBS.prefix}/namespaces/a%2Fb/{JOBS.plural}/..%2F..%2Fsecrets%2Fs%3Fx%23y%252f"
    assert JOBS.path("team", "tickets.v1", "status").endswith(f"/namespaces/team/{JOBS.plural}/tickets.v1/status")


@pytest.mark.parametrize("names", [(".", "a"), ("..", "a"), ("a", "."), ("a", "..")])
def test_a_name_that_would_lead_elsewhere_makes_no_path(names):
    with pytest.raises(ValueError, match="no object is named"):
        JOBS.path(*names)


UNFIT = "the server rejected our request due to an error in our request"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (status(422, UNFIT), ConflictError),
        (status(422, name="c", causes=[{"message": "must be 0 or more"}]), RejectedError),
        (status(422, 'admission webhook "quota" denied the request: no GPUs left'), RejectedError),
        (status(403, name="c"), RejectedError),
        (status(400), RejectedError),
    ],
)
def test_of_all_refused_patches_only_one_that_did_not_fit_is_a_conflict(answer, error):
    with pytest.raises(error):
        read_answer("PATCH", "/x", *answer)


def test_a_refusal_is_passed_on_in_the_api_servers_own_words():
    with pytest.raises(RejectedError, match="exceeded quota: gpus"):
        read_answer("POST", "/x", *status(403, "exceeded quota: gpus"))


def test_paths_are_those_of_the_api():
    assert JOBS.path("team", "j", "status") == "/apis/tidemill.dev/v1alpha1/namespaces/team/batchinferencejobs/j/status"
    assert PODS.path(None) == "/api/v1/pods"
