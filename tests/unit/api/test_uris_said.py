"""A URI may hold a password or a signature: none of it is repeated in a message, whatever is wrong with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.builders import MINIMAL, make_job

from tidemill_api.v1alpha1.uris import check_input, check_output, public, shown, without_signatures
from tidemill_operator.core.spec_checks import SpecPolicy
from tidemill_operator.views import read_job

CANARY = "canary-5ee7c0de"
SIGNED = f"?X-Amz-Credential=AKIA%2F{CANARY}&X-Amz-Signature={CANARY}"
WRONG = [
    f"https://user:{CANARY}@host/rows.jsonl",
    f"https://user:p@ss{CANARY}@host/rows.jsonl",
    f"HTTPS://user:{CANARY}@host/rows.jsonl",
    f"s3://AKIA:{CANARY}@bucket/rows.jsonl",
    f"ftp://user:{CANARY}@host/rows.jsonl",
    f"https://host/{SIGNED}/",
    f"https://host/a/../rows.jsonl{SIGNED}",
    f"https://host/a\0.jsonl{SIGNED}",
    f"https://host:x/rows.jsonl{SIGNED}",
    f"https://host/rows.jsonl.gz{SIGNED}",
    f"https://host#{CANARY}",
]


def stored(**spec):
    metadata = {"namespace": "team", "name": "j", "uid": "u", "creationTimestamp": "2026-01-01T12:00:00Z"}
    return {"metadata": metadata, "spec": MINIMAL | spec}


@pytest.mark.parametrize("uri", WRONG)
@pytest.mark.parametrize("field", ["input", "output"])
def test_what_is_said_of_a_wrong_uri_holds_none_of_its_secrets(field, uri):
    """Also of one that an API server with an older CRD let through: the operator's word goes into status and Events."""
    job = read_job(stored(**{field: {"uri": uri}}), SpecPolicy())
    assert job.spec_problem.startswith(f"{field}.uri: ")
    assert CANARY not in job.spec_problem
    assert CANARY not in repr(make_job(problem=job.spec_problem))


@pytest.mark.parametrize("check", [check_input, check_output])
@given(st.text(max_size=30), st.text("abc:/@", max_size=12))
def test_nothing_before_an_at_sign_and_after_a_question_mark_is_ever_shown(check, start, middle):
    uri = f"!{start}{CANARY}{middle}@host?{CANARY}"
    with pytest.raises(ValueError, match="uri must be") as said:
        check(uri)
    assert CANARY not in str(said.value)


def test_a_wrong_uri_is_still_known_again():
    assert shown("htps://host/rows.jsonl?a=b") == "'htps://host/rows.jsonl...'"
    assert shown("s3://key:secret@bucket/rows") == "'...@bucket/rows'"
    assert len(shown("x" * 5000)) < 220


def test_a_servers_uri_is_said_without_its_query_and_others_as_they_are():
    assert public(f"https://host/rows.jsonl{SIGNED}") == "https://host/rows.jsonl?..."
    assert public("s3://bucket/what?@is.jsonl") == "s3://bucket/what?@is.jsonl"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("GET https://h/a?sig=canary now", "GET https://h/a?*** now"),
        ("https://proxy/http://h/a?canary", "https://proxy/http://h/a?***"),
        ("https://h/a?... http://b?canary", "https://h/a?... http://b?***"),
        ("https://h/a?...http://b?canary", "https://h/a?...http://b?***"),
        ("http://http://b?canary", "http://http://b?***"),
        ("see https://h/a, or b?", "see https://h/a, or b?"),
        ("'https://u:canary@h/a?b'", "'https://***@h/a?***'"),
        (f"https://h/{'a' * 5000}?canary", f"https://h/{'a' * 5000}?***"),
    ],
)
def test_the_query_of_each_url_in_a_text_is_left_out(text, said):
    assert without_signatures(text) == said
