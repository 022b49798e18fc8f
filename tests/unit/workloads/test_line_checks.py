"""One line at a time: every rule, its code and what the user reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from validation_builders import any_model
from workload_builders import MODEL, chat, request

from tidemill_workloads.line_checks import check_line

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPLETION = "/v1/completions"
EMBEDDING = "/v1/embeddings"
RULES = any_model(MODEL)


@pytest.fixture(scope="module", autouse=True)
def rules_are_closed() -> Iterator[None]:
    with RULES:
        yield


def problem(line: Any) -> tuple[str, str] | None:
    raw = line if isinstance(line, bytes) else json.dumps(line).encode()
    _, bad = check_line(raw, RULES)
    return (bad.code, bad.message) if bad is not None else None


@pytest.mark.parametrize(
    "line",
    [
        request("a"),
        request("ünï-✓ with spaces"),
        request("a", body=chat(stream=False)),
        request("a", body=chat(stream=None)),
        request("a", body=chat(messages=[{"role": "assistant", "content": None, "tool_calls": []}])),
        request("a", body=chat(messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}])),
        request(
            "a",
            body=chat(
                messages=[
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]}
                ]
            ),
        ),
        request("a", url=COMPLETION, body={"model": MODEL, "prompt": "once"}),
        request("a", url=COMPLETION, body={"model": MODEL, "prompt": ["once", "twice"]}),
        request("a", url=COMPLETION, body={"model": MODEL, "prompt": [1, 2, 3]}),
        request("a", url=COMPLETION, body={"model": MODEL, "prompt": [[1, 2], [3]]}),
        request("a", url=EMBEDDING, body={"model": MODEL, "input": ["one", "two"]}),
        request("a", url=EMBEDDING, body={"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}),
        request("a", unknown_key=1),
        json.dumps(
            request("a", body=chat(messages=[{"role": "user", "content": "a\u2028b"}])), ensure_ascii=False
        ).encode(),
    ],
)
def test_a_good_line_has_no_problem(line: Any) -> None:
    assert problem(line) is None


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        (b"{", "invalid_json_line", "not parseable"),
        (b'{"custom_id": NaN}', "invalid_json_line", "not parseable"),
        (b'{"custom_id": "\xff"}', "invalid_json_line", "not parseable"),
        (b'{"custom_id": "\\ud800"}', "invalid_json_line", "not parseable"),
        (b"[" * 100_000, "invalid_json_line", "not parseable"),
        (b'{"a": 1} {"b": 2}', "invalid_json_line", "not parseable"),
        (b"[1]", "invalid_json_line", "not a JSON object"),
        (request("a", custom_id=None), "missing_required_parameter", "'custom_id'"),
        (request("a", method=None), "missing_required_parameter", "'method'"),
        (request("a", url=None), "missing_required_parameter", "'url'"),
        (request("a", body=None), "missing_required_parameter", "'body'"),
        (request("a", custom_id=7), "invalid_request", "custom_id must be"),
        (request(""), "invalid_request", "custom_id must be"),
        (request("a\nb"), "invalid_request", "control characters"),
        (request("a", method="GET"), "invalid_request", "method must be 'POST'"),
        (request("a", url="/v1/images"), "invalid_url", "'/v1/images' is not supported; this model serves /v1/chat"),
        (request("a", url=["/v1/chat/completions"]), "invalid_url", "list is not supported"),
        (request("a", body="hi"), "invalid_request", "body must be an object"),
        (request("a", body=chat(model=None)), "invalid_request", "Model parameter is required."),
        (request("a", body=chat(model="gpt-9")), "model_not_found", f"serves the model '{MODEL}', not 'gpt-9'"),
        (request("a", body=chat(model="x" * 5000)), "model_not_found", "..."),
        (request("a", body=chat(stream=True)), "streaming_unsupported", "not supported in a batch"),
        (request("a", body=chat(messages=None)), "invalid_request", "Messages parameter is required."),
        (request("a", body=chat(messages=[])), "invalid_request", "non-empty list"),
        (request("a", body=chat(messages=["hi"])), "invalid_request", "messages[0] must be an object with a role"),
        (
            request("a", body=chat(messages=[{"role": "user", "content": [{"type": ["text"], "text": "x"}]}])),
            "invalid_request",
            "body.messages[0].content[0].type must be a string",
        ),
        (request("a", body=chat(messages=[{"role": "user", "content": 3}])), "invalid_request", "messages[0].content"),
        (request("a", url=COMPLETION, body={"model": MODEL}), "invalid_request", "body.prompt must be"),
        (request("a", url=COMPLETION, body={"model": MODEL, "prompt": ["a", 1]}), "invalid_request", "body.prompt"),
        (request("a", url=COMPLETION, body={"model": MODEL, "prompt": [[1], []]}), "invalid_request", "body.prompt"),
        (request("a", url=EMBEDDING, body={"model": MODEL, "input": {}}), "invalid_request", "body.input must be"),
        (request("a", url=EMBEDDING, body={"model": MODEL, "input": [True]}), "invalid_request", "body.input must be"),
    ],
)
def test_a_bad_line_has_its_code_and_says_why(line: Any, code: str, says: str) -> None:
    found = problem(line)
    assert found is not None
    assert found[0] == code
    assert says in found[1]
    assert len(found[1]) < 300


FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("custom_id", {"custom_id": 7}, "custom_id must be"),
    ("method", {"method": "GET"}, "method must be"),
    ("url", {"url": "/v1/images"}, "url: '/v1/images'"),
    ("body", {"body": "hi"}, "body must be an object"),
    ("model", {"model": "gpt-9"}, "body.model:"),
    ("stream", {"stream": True}, "body.stream:"),
    ("parameters", {"messages": []}, "non-empty list"),
]
"""A fault of each kind in the order in which they count: the change that makes it, and what its message says."""


def faulty(*changes: dict[str, Any]) -> dict[str, Any]:
    """A request with faults of its own and, where its body is one, of its body."""
    top: dict[str, Any] = {}
    of_body: dict[str, Any] = {}
    for change in changes:
        for key, value in change.items():
            (top if key in ("custom_id", "method", "url", "body") else of_body)[key] = value
    return request("a", **{"body": chat(**of_body)} | top)


@pytest.mark.parametrize("first", range(len(FAULTS)), ids=[name for name, *_ in FAULTS])
def test_of_several_faults_of_a_line_the_first_in_order_is_told(first: int) -> None:
    """Each beside the next one alone, and beside all that come after it."""
    _, change, says = FAULTS[first]
    later = [other for _, other, _ in FAULTS[first + 1 :]]
    for beside in (later[:1], later):
        found = problem(faulty(change, *beside))
        assert found is not None
        assert says in found[1]


def test_a_line_that_is_no_json_is_told_as_that_whatever_else_it_lacks() -> None:
    assert problem(json.dumps(faulty(*(change for _, change, _ in FAULTS))).encode()[:-1]) == (
        "invalid_json_line",
        "This line is not parseable as valid JSON.",
    )


@pytest.mark.parametrize(
    "url", ["https://example.com/a.png", "file:///etc/passwd", "ftp://example.com/a", "/etc/passwd"]
)
@pytest.mark.parametrize("kind", ["image_url", "audio_url", "video_url"])
@pytest.mark.parametrize("nested", [True, False])
def test_nothing_is_fetched_for_a_row(url: str, kind: str, nested: bool) -> None:
    part = {"type": kind, kind: {"url": url} if nested else url}
    found = problem(request("a", body=chat(messages=[{"role": "user", "content": [part]}])))
    assert found is not None
    assert "data: URLs only" in found[1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
almost_requests = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": json_values | st.just("a"),
        "method": json_values | st.just("POST"),
        "url": json_values | st.sampled_from(["/v1/chat/completions", COMPLETION, EMBEDDING]),
        "body": json_values
        | st.fixed_dictionaries(
            {"model": json_values | st.just(MODEL)},
            optional={"messages": json_values, "prompt": json_values, "input": json_values, "stream": json_values},
        )
        | st.builds(
            lambda parts: chat(messages=[{"role": "user", "content": parts}]), st.lists(json_values, max_size=3)
        ),
    },
)


@given(almost_requests)
def test_no_request_however_odd_crashes_the_check(line: dict[str, Any]) -> None:
    problem(line)


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_check(raw: bytes) -> None:
    check_line(raw, RULES)
