"""Specs that a hostile or a careless user might write: made from each CRD's own schema, then spoilt."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import api_specs
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from unit.api import endpoint_specs
from unit.api.test_schema_properties import SCHEMA, values
from unit.operator.builders import T0

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = Any
Steps = tuple[str | int, ...]

CRDS = Path(__file__).parents[1] / "crds"
ENDPOINT_CRD = yaml.safe_load((CRDS / "tidemill.dev_realtimeendpoints.yaml").read_text())
ENDPOINT_SCHEMA = ENDPOINT_CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]

TEXTS = st.sampled_from(
    [
        "", " ", "\0", "..", "/", "//", "/../etc/passwd", "file:///%2e%2e/%00", "s3://", "s3:///x", "gs://b", "http://",
        "http://169.254.169.254/latest/meta-data", "http://user:secret@host/rows.jsonl", "https://[::1", "ftp://h/x",
        "$(reboot)", "`id`", "'; rm -rf / #", "${jndi:ldap://x}", "{{ .Values.x }}", "%s%n", "ü" * 50, "a" * 3000,
        "\u2028", "\ud7ff", "null", "true", "1e999", "-0", "NaN", "0x10", "9" * 400, "1" * 70 + "Gi", "4h ", "PT4H",
    ]
)  # fmt: skip
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
GARBAGE = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def _paths(value: Json, here: Steps = ()) -> Iterator[Steps]:
    yield here
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in below:
        yield from _paths(child, (*here, key))


def _spoilt(spec: Json, path: Steps, garbage: Json) -> Json:
    if not path:
        return garbage
    spoilt = deepcopy(spec)
    target = spoilt
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = garbage
    return spoilt


@st.composite
def _whole(draw: st.DrawFn, schema: Json, smallest: Json) -> Json:
    """The smallest good spec with some of its fields replaced by others that the schema takes."""
    fields = schema["spec"]["properties"]
    names = draw(st.lists(st.sampled_from(sorted(fields)), max_size=4, unique=True))
    return deepcopy(smallest) | {name: draw(values(fields[name])) for name in names}


@st.composite
def _mutated(draw: st.DrawFn, schema: Json, smallest: Json) -> Json:
    spec = draw(_whole(schema, smallest))
    for _ in range(draw(st.integers(1, 3))):
        paths = [path for path in _paths(spec) if path]
        if not paths:
            break
        spec = _spoilt(spec, draw(st.sampled_from(paths)), draw(GARBAGE))
        if draw(st.booleans()) and isinstance(spec, dict):
            spec = spec | {draw(st.text("abcXYZ.$", min_size=1, max_size=8)): draw(GARBAGE)}
    return spec


def _hostile(schema: Json, smallest: Json) -> st.SearchStrategy[Json]:
    mutated = _mutated(schema, smallest)
    return _whole(schema, smallest) | mutated | mutated | st.dictionaries(st.text(max_size=8), GARBAGE, max_size=3)


def hostile_specs() -> st.SearchStrategy[Json]:
    """Specs of a job as the schema takes them, spoilt ones, and JSON that is no spec at all."""
    return _hostile(SCHEMA, api_specs.SPEC)


def hostile_endpoints() -> st.SearchStrategy[Json]:
    """The same for an endpoint."""
    return _hostile(ENDPOINT_SCHEMA, endpoint_specs.SPEC)


def collected(strategy: st.SearchStrategy[Json], count: int) -> list[Json]:
    """So many different ones, the same in every run."""
    found: dict[str, Json] = {}

    @settings(
        max_examples=count * 5 // 4,  # some come twice
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(spec: Json) -> None:
        found[json.dumps(spec, sort_keys=True)] = spec

    collect()
    return list(found.values())[:count]


def as_stored(name: str, spec: Json, status: Json = None) -> Json:
    """An object with this spec, as the API server would hand it out."""
    metadata = {"namespace": "team", "name": name, "uid": "u-1", "creationTimestamp": T0.isoformat()}
    return {"metadata": metadata, "spec": spec, "status": status}


def assert_plain_words(message: str) -> None:
    """A message about a spec is a sentence for its user and not a library's."""
    assert message.endswith(".")
    assert len(message.strip()) > 3
    assert "pydantic" not in message
    assert "input_value" not in message


def names_a_field(message: str, schema: Json = SCHEMA) -> bool:
    """Whether the message begins with the path of a field that a spec has, as `template.env: ...`."""
    first = re.match(r"(spec\.)?(\w+)", message)
    return first is not None and first[2] in schema["spec"]["properties"]
