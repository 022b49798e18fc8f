"""Walks every CRD of ours with the conventions of the Kubernetes API (the rules of the Kube API Linter).

An exception is named here with its reason, and must still be needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cel
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "crds").glob("*.yaml"))

BOOLEANS = {
    "spec.template.volumes[].persistentVolumeClaim.readOnly": "core/v1 has this very field",
    "spec.template.volumeMounts[].readOnly": "core/v1 has this very field",
    "spec.suspend": "batch/v1 has this very field",
    "spec.cancel": "one way, and the word of the batch APIs that users come from",
    "status.forecast.meetsWindow": "an observation, not a switch: nobody sets it",
}
DURATIONS = {
    "spec.completionWindow": "the word of the batch APIs that users come from: 24h",
    "spec.scaling.targetQueueAgeMilliseconds": "a first token is awaited for less than a second",
    "status.queue.ageRatio": "no duration but the ratio of two, as a decimal string",
}
SHOWN_AS_TEXT = {
    "ETA": "lies ahead: a date column shows the time since, which is <invalid> for the future",
    "Starts": "as ETA: it lies ahead",
    "In-Window": "printer columns of type boolean are empty where the field is missing, as text too",
}
LOWER_CASE_ENUMS = {
    "spec.model.engineArgs.dtype": "vLLM's own words",
    "spec.model.engineArgs.quantization": "vLLM's own words",
    "spec.model.engineArgs.toolCallParser": "vLLM's own words",
}

Schema = dict[str, Any]


@dataclass(frozen=True)
class Node:
    """One schema below `openAPIV3Schema`: its path as users write it, its last name, and whether it is a property."""

    path: str
    name: str
    schema: Schema
    is_property: bool = True


def walk(schema: Schema, path: str = "") -> Iterator[Node]:
    for name, child in schema.get("properties", {}).items():
        below = f"{path}.{name}".lstrip(".")
        yield Node(below, name, child)
        yield from walk(child, below)
    for keyword, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        if keyword in schema:
            yield Node(path + suffix, suffix, schema[keyword], is_property=False)
            yield from walk(schema[keyword], path + suffix)


def crds() -> list[Schema]:
    return [yaml.safe_load(path.read_text()) for path in FILES]


def root_schema(crd: Schema) -> Schema:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes() -> list[Node]:
    """Everything below spec and status; what Kubernetes itself defines is left out."""
    everything = [node for crd in crds() for node in walk(root_schema(crd))]
    return [node for node in everything if re.match(r"(spec|status)\b", node.path)]


def paths_where(faulty: Any) -> list[str]:
    return [node.path for node in nodes() if faulty(node.schema)]


def test_there_are_crds_to_look_at() -> None:
    assert [path.name for path in FILES] == [
        "tidemill.dev_batchinferencejobs.yaml",
        "tidemill.dev_realtimeendpoints.yaml",
    ]
    assert len(nodes()) > 160


def test_every_string_has_a_longest_length() -> None:
    def unbounded(schema: Schema) -> bool:
        is_text = schema.get("type") == "string" or schema.get("x-kubernetes-int-or-string")
        return bool(is_text) and not ({"maxLength", "enum"} & schema.keys()) and schema.get("format") != "date-time"

    assert paths_where(unbounded) == []


def test_every_list_is_bounded_and_says_how_it_merges() -> None:
    lists = [node for node in nodes() if node.schema.get("type") == "array"]
    assert [n.path for n in lists if "maxItems" not in n.schema] == []
    assert [n.path for n in lists if n.schema.get("x-kubernetes-list-type") not in {"atomic", "map", "set"}] == []
    for node in lists:
        keys = node.schema.get("x-kubernetes-list-map-keys", [])
        assert bool(keys) == (node.schema["x-kubernetes-list-type"] == "map"), node.path
        assert set(keys) <= set(node.schema["items"].get("required", [])), f"{node.path}: its keys must be required"


def test_every_map_is_bounded() -> None:
    assert paths_where(lambda schema: "additionalProperties" in schema and "maxProperties" not in schema) == []


def test_every_object_says_what_is_in_it() -> None:
    def open_ended(schema: Schema) -> bool:
        return schema.get("type") == "object" and not ({"properties", "additionalProperties"} & schema.keys())

    assert paths_where(open_ended) == []


def test_every_integer_has_a_width_and_both_bounds() -> None:
    def loose(schema: Schema) -> bool:
        bounded = {"minimum", "maximum"} <= schema.keys() and schema.get("format") in {"int32", "int64"}
        return schema.get("type") == "integer" and not bounded

    assert paths_where(loose) == []


def test_there_are_no_floats() -> None:
    assert paths_where(lambda schema: schema.get("type") == "number") == []


def test_schemas_are_structural() -> None:
    forbidden = {"$ref", "oneOf", "allOf", "not", "nullable", "const", "x-kubernetes-preserve-unknown-fields"}
    assert paths_where(lambda schema: forbidden & schema.keys()) == []
    assert paths_where(lambda schema: "anyOf" in schema and not schema.get("x-kubernetes-int-or-string")) == []
    assert paths_where(lambda schema: "type" not in schema and not schema.get("x-kubernetes-int-or-string")) == []


def test_there_is_no_phase() -> None:
    assert [node.path for node in nodes() if re.search("phase", node.name, re.IGNORECASE)] == []


def test_names_are_camel_case() -> None:
    names = {node.name for node in nodes() if node.is_property}
    assert {name for name in names if not re.fullmatch(r"[a-z][a-zA-Z0-9]*", name)} == set()


def test_booleans_are_named_exceptions() -> None:
    assert set(paths_where(lambda schema: schema.get("type") == "boolean")) == set(BOOLEANS)


def test_durations_are_whole_seconds_but_for_named_exceptions() -> None:
    spans = {"duration", "timeout", "period", "window", "interval", "ttl", "delay", "backoff", "age"}

    def words(name: str) -> set[str]:
        return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)}

    found = [node for node in nodes() if words(node.name) & spans and node.schema["type"] in {"integer", "string"}]
    assert "spec.ttlSecondsAfterFinished" in {node.path for node in found}
    loose = {n.path for n in found if n.schema["type"] != "integer" or "seconds" not in words(n.name)}
    assert loose == set(DURATIONS)


def test_enums_are_camel_case_words() -> None:
    def odd(schema: Schema) -> bool:
        return any(not re.fullmatch(r"([A-Z][A-Za-z0-9]*)?", str(value)) for value in schema.get("enum", []))

    assert set(paths_where(odd)) == set(LOWER_CASE_ENUMS)


def test_every_description_starts_with_its_field() -> None:
    def nameless(node: Node) -> bool:
        return node.is_property and not re.match(rf"{node.name}\b", node.schema.get("description", ""))

    assert [node.path for node in nodes() if nameless(node)] == []


def test_required_fields_exist() -> None:
    assert paths_where(lambda schema: set(schema.get("required", [])) - schema.get("properties", {}).keys()) == []


@pytest.mark.parametrize("crd", crds(), ids=lambda crd: crd["metadata"]["name"])
class TestEachKind:
    def test_conditions_are_first_and_told_apart_by_type(self, crd: Schema) -> None:
        status = root_schema(crd)["properties"]["status"]["properties"]
        assert next(iter(status)) == "conditions"
        conditions = status["conditions"]
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]
        assert conditions["maxItems"] <= 16
        assert set(conditions["items"]["required"]) == {"type", "status", "lastTransitionTime", "reason"}
        assert "message" in conditions["items"]["properties"]

    def test_status_is_a_subresource_of_its_own(self, crd: Schema) -> None:
        (version,) = crd["spec"]["versions"]
        assert version["subresources"]["status"] == {}
        assert (version["served"], version["storage"]) == (True, True)
        assert "observedGeneration" in root_schema(crd)["properties"]["status"]["properties"]

    def test_the_status_makes_nothing_up(self, crd: Schema) -> None:
        assert [n.path for n in walk(root_schema(crd)["properties"]["status"], "status") if "default" in n.schema] == []

    def test_it_is_found_under_its_names(self, crd: Schema) -> None:
        names = crd["spec"]["names"]
        assert crd["metadata"]["name"] == f"{names['plural']}.{crd['spec']['group']}"
        assert names["categories"] == ["tidemill"]
        assert names["shortNames"]
        assert crd["spec"]["scope"] == "Namespaced"

    def test_printer_columns_show_what_the_schema_has(self, crd: Schema) -> None:
        (version,) = crd["spec"]["versions"]
        columns = version["additionalPrinterColumns"]
        assert [c["name"] for c in columns if not c.get("priority")][-1] == "Age", (
            "Age is the last that is always shown"
        )
        known = {node.path for node in walk(root_schema(crd))} | {"metadata.creationTimestamp"}
        shown = {c["name"]: re.sub(r"\[\?\(.*?\)\]", "[]", c["jsonPath"]).removeprefix(".") for c in columns}
        assert {name: path for name, path in shown.items() if path not in known} == {}

    def test_column_types_fit_their_fields(self, crd: Schema) -> None:
        (version,) = crd["spec"]["versions"]
        fields = {node.path: node.schema for node in walk(root_schema(crd))}
        for column in version["additionalPrinterColumns"]:
            field = fields.get(re.sub(r"\[\?\(.*?\)\]", "[]", column["jsonPath"]).removeprefix("."))
            wanted = "date" if field is None or field.get("format") == "date-time" else field["type"]
            assert column["type"] == ("string" if column["name"] in SHOWN_AS_TEXT else wanted), column["name"]


def rules() -> list[tuple[Node, Schema]]:
    return [(node, rule) for node in nodes() for rule in node.schema.get("x-kubernetes-validations", [])]


def test_every_rule_has_a_message_that_names_a_field() -> None:
    for node, rule in rules():
        names = {node.path.removesuffix("[]").rsplit(".", 1)[-1], *node.schema.get("properties", {})}
        assert any(re.search(rf"\b{name}\b", rule["message"]) for name in names), (node.path, rule)


def test_immutable_fields_are_always_present() -> None:
    """A transition rule is not looked at where the field is absent before or after."""
    frozen = {node.path for node, rule in rules() if "oldSelf" in rule["rule"]}
    whole = {"model", "input", "output", "resources", "head", "image", "template", "retry", "resubmitOf"}
    assert frozen == {"spec", "spec.cancel"} | {f"spec.{name}" for name in whole}
    for crd in crds():
        spec = {node.path: node.schema for node in walk(root_schema(crd))}
        required = {f"spec.{name}" for name in root_schema(crd)["properties"]["spec"]["required"]}
        looked_back = {
            path for path, schema in spec.items() if "oldSelf" in str(schema.get("x-kubernetes-validations"))
        }
        absent = {path for path in looked_back - {"spec"} if path not in required and "default" not in spec[path]}
        assert absent == set(), crd["metadata"]["name"]


def test_an_optional_field_that_is_immutable_can_neither_come_nor_go() -> None:
    about_spec = [rule for node, rule in rules() if node.path == "spec"]
    (rule,) = [rule for rule in about_spec if rule["fieldPath"] == ".maxFailedRows"]
    for old, new, fine in (({}, {}, True), ({}, {"maxFailedRows": 1}, False), ({"maxFailedRows": 1}, {}, False)):
        assert cel.evaluate(rule["rule"], {"self": new, "oldSelf": old}) is fine
    for new, fine in ((1, True), (2, False)):
        both = {"self": {"maxFailedRows": new}, "oldSelf": {"maxFailedRows": 1}}
        assert cel.evaluate(rule["rule"], both) is fine


@pytest.mark.parametrize(("old", "new", "fine"), [(False, True, True), (True, False, False), (True, True, True)])
def test_a_cancel_is_not_taken_back(old: bool, new: bool, fine: bool) -> None:
    ((_, rule),) = [(node, rule) for node, rule in rules() if node.path == "spec.cancel"]
    assert cel.evaluate(rule["rule"], {"self": new, "oldSelf": old}) is fine


@pytest.mark.parametrize(("of", "fine"), [("", True), ("other", True), ("tickets", False)])
def test_a_job_is_not_resubmitted_of_itself(of: str, fine: bool) -> None:
    all_rules = [rule for crd in crds() for rule in root_schema(crd)["x-kubernetes-validations"]]
    (rule,) = [rule for rule in all_rules if rule["fieldPath"] == ".spec.resubmitOf"]
    whole = {"metadata": {"name": "tickets"}, "spec": {"resubmitOf": of}}
    assert cel.evaluate(rule["rule"], {"self": whole}) is fine


def test_defaults_of_nested_objects_let_inner_defaults_apply() -> None:
    """An absent object gets no inner defaults, unless its own default is the empty object."""
    required = {f"{node.path}.{name}" for node in nodes() for name in node.schema.get("required", [])}
    for node in nodes():
        inner = any("default" in child for child in node.schema.get("properties", {}).values())
        if inner and node.is_property and node.path not in required | {"spec"}:
            assert node.schema.get("default") == {}, node.path
