"""Whatever the CRD's schema takes, the types take too, but for what a rule of the CRD refuses; and back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cel
import yaml
from api_specs import SPEC
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tidemill_api.v1alpha1.batch_inference_job import (
    WINDOW_PATTERN,
    BatchInferenceJobSpec,
    BatchInferenceJobStatus,
    parse_window,
)

CRD = Path(__file__).parents[3] / "crds" / "tidemill.dev_batchinferencejobs.yaml"
SCHEMA = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
Schema = dict[str, Any]


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """Values that a structural schema takes; lists and maps are kept short, for speed."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type", "string"):
        case "object":
            return objects(schema) if "properties" in schema else maps(schema)
        case "array":
            return st.lists(values(schema["items"]), max_size=2)
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "boolean":
            return st.booleans()
        case _:
            return texts(schema)


def maps(schema: Schema) -> st.SearchStrategy[Any]:
    keys = st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True)
    return st.dictionaries(keys, values(schema["additionalProperties"]), max_size=2)


def objects(schema: Schema) -> st.SearchStrategy[Any]:
    required = set(schema.get("required", []))
    fields = {name: values(child) for name, child in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: field for name, field in fields.items() if name in required},
        optional={name: field for name, field in fields.items() if name not in required},
    )


def texts(schema: Schema) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda time: time.isoformat(timespec="seconds") + "Z")
    longest = min(schema["maxLength"], 40)
    if "pattern" in schema:
        text = st.from_regex(schema["pattern"].replace("$", r"\Z"))
    else:
        text = st.text("abc/.:-_09ü", min_size=schema.get("minLength", 0), max_size=longest)
    return text.filter(lambda value: schema.get("minLength", 0) <= len(value) <= longest)


def messages(schema: Schema) -> set[str]:
    """The messages of all rules below."""
    found = {rule["message"] for rule in schema.get("x-kubernetes-validations", [])}
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return found.union(*(messages(child) for child in below if child))


RULES = {*messages(SCHEMA["spec"]), "timeZone: "}  # which names there are is known to no schema
quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(st.data())
def test_a_field_that_the_schema_takes_is_refused_only_by_a_rule(data: st.DataObject) -> None:
    fields = SCHEMA["spec"]["properties"]
    name = data.draw(st.sampled_from(sorted(fields)))
    spec = {**SPEC, name: data.draw(values(fields[name]))}
    try:
        BatchInferenceJobSpec.model_validate(spec)
    except ValidationError as refusal:
        said = [fault["msg"].removeprefix("Value error, ") for fault in refusal.errors()]
        assert [text for text in said if not (text.startswith(tuple(RULES)) or "more than once" in text)] == []


@quick
@given(values(SCHEMA["spec"]["properties"]["template"]), values(SCHEMA["spec"]["properties"]["resources"]))
def test_a_spec_comes_back_as_it_was_written(template: Schema, resources: Schema) -> None:
    try:
        spec = BatchInferenceJobSpec.model_validate({**SPEC, "template": template, "resources": resources})
    except ValidationError:
        return
    assert BatchInferenceJobSpec.model_validate_json(spec.model_dump_json(by_alias=True)) == spec


@quick
@given(values(SCHEMA["status"]))
def test_every_status_that_the_schema_takes_is_read_and_written_back(status: Schema) -> None:
    parsed = BatchInferenceJobStatus.model_validate(status)
    assert BatchInferenceJobStatus.model_validate_json(parsed.model_dump_json(by_alias=True)) == parsed


WINDOW_RULE = SCHEMA["spec"]["properties"]["completionWindow"]["x-kubernetes-validations"][0]["rule"]


@settings(max_examples=1000, deadline=None)
@given(st.from_regex(WINDOW_PATTERN.replace("$", r"\Z")).filter(bool))
def test_rule_and_types_agree_on_every_window(text: str) -> None:
    try:
        parse_window(text)
    except ValueError:
        accepted = False
    else:
        accepted = True
    assert cel.evaluate(WINDOW_RULE, {"self": text}) is accepted


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(["..", ".", "a", "..b", "", "b.."]), max_size=4).map("/".join))
def test_rule_and_types_agree_on_every_sub_path(path: str) -> None:
    mounts = SCHEMA["spec"]["properties"]["template"]["properties"]["volumeMounts"]["items"]["properties"]
    (rule,) = mounts["subPath"]["x-kubernetes-validations"]
    template = {**SPEC["template"], "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": path}]}
    try:
        BatchInferenceJobSpec.model_validate({**SPEC, "template": template})
    except ValidationError:
        accepted = False
    else:
        accepted = True
    assert cel.evaluate(rule["rule"], {"self": path}) is accepted


URIS = st.one_of(
    st.from_regex(r"(/|file:///|s3://|gs://|https?://)[a-z0-9.]{0,6}(/[a-z.?]{0,9}){0,3}", fullmatch=True),
    st.text("s3gh:/.?@ tpA\nzü", max_size=24),
)


@settings(max_examples=1000, deadline=None)
@given(st.sampled_from(["input", "output"]), URIS.filter(lambda text: len(text) >= 2))
def test_rules_and_types_agree_on_every_uri(field: str, uri: str) -> None:
    found = SCHEMA["spec"]["properties"][field]["properties"]["uri"]["x-kubernetes-validations"]
    try:
        BatchInferenceJobSpec.model_validate({**SPEC, field: {"uri": uri}})
    except ValidationError:
        accepted = False
    else:
        accepted = True
    assert all(cel.evaluate(rule["rule"], {"self": uri}) for rule in found) is accepted


def test_patterns_mean_the_same_to_every_engine() -> None:
    """No class shorthand, look-around or back reference: RE2, Rust and Python read these patterns alike."""
    patterns = re.findall(r"pattern: (.+)", CRD.read_text())
    assert patterns
    assert [pattern for pattern in patterns if re.search(r"\\[dwsbDWB1-9]|\(\?", pattern)] == []
