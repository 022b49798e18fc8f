"""The types of a RealtimeEndpoint refuse what the CRD refuses, and say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cel
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError
from unit.api.endpoint_specs import BAD, GOOD, SPEC, UNKNOWN_FIELDS, EndpointCase
from unit.api.test_schema_properties import messages, values

from tidemill_api.endpoint_conditions import STARTUP_PROBLEMS, EndpointCondition, EndpointReason
from tidemill_api.v1alpha1.realtime_endpoint import (
    REALTIME_ENDPOINT,
    RealtimeEndpointSpec,
    RealtimeEndpointStatus,
    valid_name,
)

CRD = Path(__file__).parents[3] / "crds" / "tidemill.dev_realtimeendpoints.yaml"
VERSION = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
ROOT = VERSION["schema"]["openAPIV3Schema"]
SCHEMA = ROOT["properties"]
Schema = dict[str, Any]


def parsed(spec: dict[str, Any]) -> RealtimeEndpointSpec:
    return RealtimeEndpointSpec.model_validate(spec)


def where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def defaulted(schema: Schema, value: Any) -> Any:
    """The value with the schema's defaults in it, as an API server stores it."""
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    given_ = {name: child["default"] for name, child in schema["properties"].items() if "default" in child} | value
    return {name: defaulted(schema["properties"].get(name, {}), below) for name, below in given_.items()}


def refused_by_rules(schema: Schema, value: Any) -> list[str]:
    """Messages of the CEL rules that the value breaks."""
    said = [
        rule["message"]
        for rule in schema.get("x-kubernetes-validations", [])
        if cel.evaluate(rule["rule"], {"self": value}) is not True
    ]
    for name, child in schema.get("properties", {}).items():
        if isinstance(value, dict) and name in value:
            said += refused_by_rules(child, value[name])
    return said


def refused_by_crd(spec: dict[str, Any]) -> list[str]:
    stored = defaulted(SCHEMA["spec"], spec)
    faults = [fault.message for fault in Draft202012Validator(SCHEMA["spec"]).iter_errors(stored)]
    return faults or refused_by_rules(SCHEMA["spec"], stored)


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_a_bad_spec_is_refused_and_its_field_named(case: EndpointCase) -> None:
    with pytest.raises(ValidationError) as refusal:
        parsed(case.spec)
    (fault,) = refusal.value.errors()
    assert case.message in fault["msg"]
    assert where(fault["loc"]) in (case.at, "")  # "" where a rule spans fields: its message names them


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_the_crd_refuses_it_too(case: EndpointCase) -> None:
    said = refused_by_crd(case.spec)
    if case.name in UNKNOWN_FIELDS:
        return
    assert said
    assert any(case.message in text for text in said), said


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_good_spec_is_taken_by_both_and_written_back_the_same(case: EndpointCase) -> None:
    spec = parsed(case.spec)
    assert refused_by_crd(case.spec) == []
    assert parsed(spec.model_dump(by_alias=True, mode="json", exclude_none=True)) == spec


def test_the_crd_and_the_types_have_the_same_defaults() -> None:
    assert parsed(defaulted(SCHEMA["spec"], SPEC)) == parsed(SPEC)


quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
RULES = messages(SCHEMA["spec"])


@quick
@given(st.data())
def test_a_field_that_the_schema_takes_is_refused_only_by_a_rule(data: st.DataObject) -> None:
    fields = SCHEMA["spec"]["properties"]
    name = data.draw(st.sampled_from(sorted(fields)))
    spec = {**SPEC, name: data.draw(values(fields[name]))}
    try:
        parsed(spec)
    except ValidationError as refusal:
        said = [fault["msg"].removeprefix("Value error, ") for fault in refusal.errors()]
        assert [text for text in said if not (text.startswith(tuple(RULES)) or "more than once" in text)] == []


@quick
@given(values(SCHEMA["status"]))
def test_every_status_that_the_schema_takes_is_read_and_written_back(status: Schema) -> None:
    read = RealtimeEndpointStatus.model_validate(status)
    assert RealtimeEndpointStatus.model_validate_json(read.model_dump_json(by_alias=True)) == read


@pytest.mark.parametrize(
    ("name", "fine"),
    [("chat", True), ("a" * 63, True), ("a" * 64, False), ("1chat", False), ("chat.v1", False), ("chat-", False)],
)
def test_a_name_is_one_that_a_service_may_have(name: str, fine: bool) -> None:
    (rule,) = ROOT["x-kubernetes-validations"]
    assert cel.evaluate(rule["rule"], {"self": {"metadata": {"name": name}}}) is fine
    assert valid_name(name) is fine


def test_kubectl_scale_finds_what_it_reads_and_writes() -> None:
    scale = VERSION["subresources"]["scale"]
    for path in scale.values():
        at: Schema = {"properties": SCHEMA}
        for name in path.lstrip(".").split("."):
            at = at["properties"][name]
    stored = defaulted(SCHEMA["spec"], SPEC)
    assert stored["replicas"]["min"] == 1  # present without being set: the API server refuses to scale otherwise
    assert SCHEMA["status"]["properties"]["selector"]["type"] == "string"


def test_reasons_fit_the_crd() -> None:
    pattern = SCHEMA["status"]["properties"]["conditions"]["items"]["properties"]["reason"]["pattern"]
    assert [word for word in EndpointReason if not re.fullmatch(pattern, word)] == []
    assert [condition.value for condition in EndpointCondition] == ["Progressing", "Available", "Ready"]
    assert {reason.value for reason in STARTUP_PROBLEMS} == {
        "ModelNotFound",
        "ModelNotLoadable",
        "EngineArgumentsRefused",
    }
    assert REALTIME_ENDPOINT.singular == "realtimeendpoint"
