"""The types of a BatchInferenceJob refuse what the CRD refuses, and say the same."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_spec_changes import EDITABLE
from api_specs import ABSENT, BAD, DOUBLED, GOOD, NIGHT, SPEC, UNKNOWN, Case, changed
from pydantic import ValidationError

from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec, parse_window

CRD = Path(__file__).parents[3] / "crds" / "tidemill.dev_batchinferencejobs.yaml"


def parsed(spec: dict[str, Any]) -> BatchInferenceJobSpec:
    return BatchInferenceJobSpec.model_validate(spec)


def where(location: tuple[int | str, ...]) -> str:
    return re.sub(r"\.\[", "[", ".".join(f"[{part}]" if isinstance(part, int) else part for part in location))


@pytest.mark.parametrize("case", [*BAD, *UNKNOWN], ids=lambda case: case.name)
def test_a_bad_spec_is_refused_and_its_field_named(case: Case) -> None:
    with pytest.raises(ValidationError) as refusal:
        parsed(case.spec)
    (fault,) = refusal.value.errors()
    assert where(fault["loc"]) == case.at
    assert case.message in fault["msg"]


@pytest.mark.parametrize("case", DOUBLED, ids=lambda case: case.name)
def test_what_stands_twice_is_refused(case: Case) -> None:
    with pytest.raises(ValidationError, match="stands more than once"):
        parsed(case.spec)


@pytest.mark.parametrize("case", [*GOOD, *EDITABLE], ids=lambda case: case.name)
def test_a_good_spec_is_taken_and_written_back_the_same(case: Case) -> None:
    spec = parsed(case.spec)
    assert parsed(spec.model_dump(by_alias=True, mode="json", exclude_none=True)) == spec


def test_every_fault_is_told_at_once() -> None:
    spec = changed(changed(SPEC, "completionWindow", "soon"), "workers.max", 0)
    with pytest.raises(ValidationError) as refusal:
        parsed(changed(spec, "model", ABSENT))
    assert {where(fault["loc"]) for fault in refusal.value.errors()} == {"model", "completionWindow", "workers.max"}


def test_numbers_become_the_quantities_that_kubernetes_reads() -> None:
    spec = parsed(changed(changed(SPEC, "resources.cpu", 4), "resources.memory", 8_589_934_592))
    assert (spec.resources.cpu, spec.resources.memory) == ("4", "8589934592")


def test_true_is_not_a_quantity() -> None:
    with pytest.raises(ValidationError, match="cpu"):
        parsed(changed(SPEC, "resources.cpu", True))


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("5m", timedelta(minutes=5)),
        ("4h", timedelta(hours=4)),
        ("90m", timedelta(minutes=90)),
        ("1d12h", timedelta(days=1, hours=12)),
        ("13d23h59m", timedelta(days=14, minutes=-1)),
        ("14d", timedelta(days=14)),
    ],
)
def test_a_window_is_a_duration(text: str, window: timedelta) -> None:
    assert parse_window(text) == window
    assert parsed(changed(SPEC, "completionWindow", text)).window == window


@pytest.mark.parametrize("text", ["4h\n", " 4h", "4H", "1.5h", "h", "-4h", "4h1d", "\u0664h"])
def test_what_looks_like_a_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be 5m to 14d"):
        parse_window(text)


@pytest.mark.parametrize(
    ("fields", "target"),
    [
        ({}, timedelta(minutes=160)),
        ({"completionWindow": "3h"}, timedelta(hours=1)),
        ({"targetCompletion": "8h"}, timedelta(hours=8)),
        ({"completionWindow": "14d", "targetCompletion": "1d12h"}, timedelta(days=1, hours=12)),
    ],
)
def test_the_target_is_a_third_of_the_window_unless_it_is_said(fields: dict[str, str], target: timedelta) -> None:
    assert parsed({**SPEC, **fields}).target == target


@pytest.mark.parametrize("zone", ["Mars", "Europe", "Europe/Nowhere"])
def test_a_time_zone_that_nobody_knows_is_refused(zone: str) -> None:
    spec = {**SPEC, "schedule": "LatestSafe", "cheaperHours": [NIGHT | {"timeZone": zone}]}
    with pytest.raises(ValidationError, match="is no name of the IANA time zone database") as refusal:
        parsed(spec)
    assert where(refusal.value.errors()[0]["loc"]) == "cheaperHours[0].timeZone"


def test_defaults_of_the_crd_are_those_of_the_types() -> None:
    schema = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    by_the_crd = with_defaults(schema["properties"]["spec"], SPEC)
    assert parsed(by_the_crd) == parsed(SPEC)
    by_the_types = parsed(SPEC).model_dump(by_alias=True, mode="json")
    assert without_empty(by_the_crd) == without_empty(by_the_types)


def with_defaults(schema: dict[str, Any], value: Any) -> Any:
    """The value as an API server stores it, by the defaults of a structural schema."""
    if isinstance(value, list):
        return [with_defaults(schema["items"], item) for item in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    given = {name: child["default"] for name, child in properties.items() if "default" in child} | value
    return {name: with_defaults(properties[name], child) if properties else child for name, child in given.items()}


def without_empty(value: Any) -> Any:
    """The value without fields that say nothing: the CRD leaves their defaults out."""
    if isinstance(value, dict):
        kept = {name: without_empty(child) for name, child in value.items()}
        return {
            name: child for name, child in kept.items() if child is not False and child not in (None, "", [], {}, ())
        }
    return [without_empty(item) for item in value] if isinstance(value, list | tuple) else value
