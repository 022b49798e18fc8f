"""CustomResourceDefinitions: what is refused, which names clash, and what resources come out."""

import pytest

from devcluster.apiserver.custom_resources import is_established, names_taken, resources_of, with_status
from devcluster.apiserver.definition_rules import definition_causes
from devcluster.apiserver.objects import clone
from devcluster.apiserver.registry import version_priority

SCHEMA = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "integer"}}}}}


def version(name="v1", schema=None, storage=True, **more):
    return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema or SCHEMA}, **more}


def definition(*versions, name="things.example.com", kind="Thing", plural="things", **spec):
    names = {"plural": plural, "kind": kind}
    full = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": names,
        "versions": list(versions or [version()]),
        **spec,
    }
    return {"metadata": {"name": name}, "spec": full}


def spec_schema(**spec):
    return {"type": "object", "properties": {"spec": spec}}


def test_a_sound_definition_has_no_fault():
    assert definition_causes(definition()) == []


ROOT = "spec.versions[0].schema.openAPIV3Schema"
SPEC = f"{ROOT}.properties[spec]"


@pytest.mark.parametrize(
    ("broken", "field", "message"),
    [
        (definition(name="other"), "metadata.name", 'must be spec.names.plural+"."+spec.group'),
        (definition(scope="Everywhere"), "spec.scope", "Unsupported value"),
        (definition(version(), version("v2")), "spec.versions", "exactly one version marked as storage"),
        (definition(conversion={"strategy": "Webhook"}), "spec.conversion.strategy", "not offered"),
        (definition({"name": "v1", "served": True, "storage": True}), ROOT, "schemas are required"),
        (definition(version(schema=spec_schema(properties={}))), f"{SPEC}.type", "must not be empty"),
        (definition(version(schema=spec_schema(type="array"))), f"{SPEC}.items", "must be specified"),
        (
            definition(version(schema=spec_schema(type="string", pattern="("))),
            f"{SPEC}.pattern",
            "valid regular expression",
        ),
        (definition(version(schema=spec_schema(type="object", **{"$ref": "#/x"}))), f"{SPEC}.$ref", "Forbidden"),
        (
            definition(version(schema=spec_schema(type="string", **{"x-kubernetes-validations": [{"rule": "slef"}]}))),
            f"{SPEC}.x-kubernetes-validations[0].rule",
            "compilation failed: undeclared reference to 'slef'",
        ),
        (
            definition(
                version(
                    schema=spec_schema(
                        type="array",
                        items={"type": "object", "properties": {"n": {"type": "string"}}},
                        **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]},
                    )
                )
            ),
            f"{SPEC}.items.properties[n].default",
            "must have a default or be a required property",
        ),
        (
            definition(
                version(
                    schema=spec_schema(
                        type="object", properties={"a": {"type": "string"}}, additionalProperties={"type": "string"}
                    )
                )
            ),
            f"{SPEC}.additionalProperties",
            "mutual exclusive",
        ),
    ],
)
def test_a_broken_definition_is_refused(broken, field, message):
    found = {cause.field: cause.message for cause in definition_causes(broken)}
    assert message in found[field]


def test_a_definition_is_established_unless_its_names_are_taken():
    first = with_status(definition(), {})
    assert is_established(first)
    assert first["status"]["acceptedNames"]["listKind"] == "ThingList"
    assert first["status"]["storedVersions"] == ["v1"]
    taken = names_taken([first], "example.com")
    second = with_status(definition(name="others.example.com", plural="others"), taken)
    assert not is_established(second)
    condition = next(c for c in second["status"]["conditions"] if c["type"] == "NamesAccepted")
    assert (condition["status"], condition["reason"]) == ("False", "NameConflict")
    assert is_established(with_status(clone(first), taken))


def test_a_condition_keeps_its_time_until_it_flips():
    first = with_status(definition(), {})
    first["status"]["conditions"][0]["lastTransitionTime"] = "2000-01-01T00:00:00Z"
    again = with_status(first, {})
    assert again["status"]["conditions"][0]["lastTransitionTime"] == "2000-01-01T00:00:00Z"


def test_each_served_version_is_a_resource_over_the_same_objects():
    made = definition(
        version("v1", storage=False),
        version(
            "v2",
            subresources={
                "status": {},
                "scale": {
                    "specReplicasPath": ".spec.replicas",
                    "statusReplicasPath": ".status.replicas",
                    "labelSelectorPath": ".status.selector",
                },
            },
        ),
    )
    made["spec"]["versions"].append({**version("v0", storage=False), "served": False})
    old, new = resources_of(made)
    assert (old.storage, new.storage) == ("example.com/things", "example.com/things")
    assert old.storage_version == new.storage_version == "example.com/v2"
    assert (old.status, new.status) == (False, True)
    assert new.scale.spec_replicas == ("spec", "replicas")
    assert new.scale.selector == ("status", "selector")


def test_versions_are_ordered_by_stage_and_age():
    names = ["v1alpha1", "foo", "v1", "v2beta1", "v10", "v2", "v1beta2", "v1beta1"]
    assert sorted(names, key=version_priority) == [
        "v10",
        "v2",
        "v1",
        "v2beta1",
        "v1beta2",
        "v1beta1",
        "v1alpha1",
        "foo",
    ]
