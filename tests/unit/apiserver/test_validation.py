"""Structural schemas: validation with Kubernetes' wording, pruning, defaulting and CEL rules, as tables."""

import pytest

from devcluster.apiserver.defaulting import apply_defaults
from devcluster.apiserver.pruning import prune
from devcluster.apiserver.schema import ABSENT, Compiler
from devcluster.apiserver.schemas import custom_node
from devcluster.apiserver.validation import Spot, validate


def causes(schema, value, old=ABSENT, path="spec.x"):
    return [str(cause) for cause in validate(Compiler().compile(schema), Spot(path, value, old))]


def fields(**properties):
    return {"type": "object", "properties": properties}


INTEGER, STRING = {"type": "integer"}, {"type": "string"}
INT_OR_STRING = {"x-kubernetes-int-or-string": True, "anyOf": [INTEGER, STRING]}
KEYED = {
    "type": "array",
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name"],
    "items": {**fields(name=STRING, v=INTEGER), "required": ["name"]},
}


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        (INTEGER, 3, None),
        (INTEGER, 3.0, None),
        (INTEGER, "3", 'Invalid value: "string": spec.x in body must be of type integer: "string"'),
        (INTEGER, True, 'Invalid value: "boolean": spec.x in body must be of type integer: "boolean"'),
        (INTEGER, None, 'Invalid value: "null": spec.x in body must be of type integer: "null"'),
        ({**INTEGER, "nullable": True}, None, None),
        ({"type": "number"}, 3, None),
        ({"type": "boolean"}, 0, 'Invalid value: "integer": spec.x in body must be of type boolean: "integer"'),
        ({"type": "object"}, [], 'Invalid value: "array": spec.x in body must be of type object: "array"'),
        ({**INTEGER, "minimum": 1}, 0, "Invalid value: 0: spec.x in body should be greater than or equal to 1"),
        ({**INTEGER, "maximum": 10}, 11, "Invalid value: 11: spec.x in body should be less than or equal to 10"),
        (
            {**INTEGER, "maximum": 10, "exclusiveMaximum": True},
            10,
            "Invalid value: 10: spec.x in body should be less than 10",
        ),
        ({**INTEGER, "multipleOf": 2}, 3, "Invalid value: 3: spec.x in body should be a multiple of 2"),
        (
            {**INTEGER, "format": "int32"},
            2**31,
            f"Invalid value: {2**31}: spec.x in body must be of type int32: {2**31}",
        ),
        ({**STRING, "enum": ["A", "B"]}, "C", 'Unsupported value: "C": supported values: "A", "B"'),
        ({**STRING, "maxLength": 3}, "abcd", "Too long: may not be more than 3 bytes"),
        ({**STRING, "minLength": 1}, "", 'Invalid value: "": spec.x in body should be at least 1 chars long'),
        ({**STRING, "pattern": "^a+$"}, "b", "Invalid value: \"b\": spec.x in body should match '^a+$'"),
        (
            {**STRING, "format": "date-time"},
            "never",
            'Invalid value: "never": spec.x in body must be of type date-time: "never"',
        ),
        ({**STRING, "format": "date-time"}, "2026-01-01T00:00:00Z", None),
        ({**STRING, "format": "made-up"}, "anything", None),
        ({"type": "array", "items": INTEGER, "maxItems": 1}, [1, 2], "Too many: 2: must have at most 1 items"),
        (
            {"type": "object", "additionalProperties": STRING, "minProperties": 1},
            {},
            "Invalid value: 0: spec.x in body should have at least 1 properties",
        ),
        (INT_OR_STRING, 3, None),
        (INT_OR_STRING, "50%", None),
        (INT_OR_STRING, 1.5, 'Invalid value: "": "spec.x" must validate at least one schema (anyOf)'),
        (
            {**INTEGER, "oneOf": [{"minimum": 1}, {"maximum": 5}]},
            3,
            'Invalid value: "": "spec.x" must validate one and only one schema (oneOf)',
        ),
        ({**INTEGER, "not": {"enum": [3]}}, 3, 'Invalid value: "": "spec.x" must not validate the schema (not)'),
        (
            {**INTEGER, "allOf": [{"minimum": 5}]},
            3,
            "Invalid value: 3: spec.x in body should be greater than or equal to 5",
        ),
        ({"x-kubernetes-preserve-unknown-fields": True}, {"any": [1, None]}, None),
    ],
)
def test_a_value_is_judged(schema, value, expected):
    assert causes(schema, value) == ([f"spec.x: {expected}"] if expected else [])


def test_every_fault_is_reported_at_its_own_path():
    schema = {
        **fields(
            a=INTEGER, b={"type": "array", "items": STRING}, c={"type": "object", "additionalProperties": INTEGER}
        ),
        "required": ["d"],
    }
    found = causes(schema, {"a": "x", "b": ["ok", 3], "c": {"k.8": "y"}}, path="")
    assert [text.split(":")[0] for text in found] == ["d", "a", "b[1]", "c[k.8]"]


def test_items_of_a_keyed_list_and_of_a_set_are_unique():
    assert causes(KEYED, [{"name": "a"}, {"name": "a"}]) == ['spec.x[1]: Duplicate value: {"name": "a"}']
    words = {"type": "array", "x-kubernetes-list-type": "set", "items": STRING}
    assert causes(words, ["a", "b", "a"]) == ['spec.x[2]: Duplicate value: "a"']


def ruled(*rules, **properties):
    made = [rule if isinstance(rule, dict) else {"rule": rule} for rule in rules]
    return {**fields(**properties), "x-kubernetes-validations": made}


@pytest.mark.parametrize(
    ("rule", "value", "holds"),
    [
        ("self.min <= self.max", {"min": 1, "max": 2}, True),
        ("self.min <= self.max", {"min": 3, "max": 2}, False),
        ("!has(self.text) || self.min > 0", {"min": 0}, True),
        ("has(self.text) == has(self.min)", {"min": 0}, False),
        ("self.text.size() == 1 && size(self.text) == 1", {"text": "ü"}, True),
        ("self.text.split(',').all(part, part.startsWith('a'))", {"text": "ab,ac"}, True),
        ("self.text.indexOf('b') == 1 && self.text.substring(1, 2) == 'b'", {"text": "abc"}, True),
        ("self.text.lowerAscii().trim() == 'x'", {"text": " X "}, True),
        ("self.text.matches('^[a-z]+$')", {"text": "abc1"}, False),
        ("duration(self.text) >= duration('5m') && duration(self.text) <= duration('336h')", {"text": "4h"}, True),
        ("duration(self.text) >= duration('5m')", {"text": "4m"}, False),
        ("quantity(self.text).isGreaterThan(quantity('1Gi'))", {"text": "1536Mi"}, True),
        ("isQuantity(self.text) && quantity(self.text).compareTo(quantity('1')) == 0", {"text": "1000m"}, True),
        ("isURL(self.text) && url(self.text).getScheme() == 's3'", {"text": "s3://bucket/key"}, True),
        ("self.ratio < 1.5 && self.ratio + 0.5 == 1.5", {"ratio": 1}, True),
        ("self.__namespace__ == 'x' && self.a__dash__b == 1", {"namespace": "x", "a-b": 1}, True),
        ("self.when > timestamp('2026-01-01T00:00:00Z')", {"when": "2026-06-01T00:00:00Z"}, True),
        ("self.items.exists_one(i, i.name == 'a')", {"items": [{"name": "a"}, {"name": "b"}]}, True),
        ("self.items.map(i, i.v).sum() == 3", {"items": [{"v": 1}, {"v": 2}]}, True),
        ("type(self.min) == int", {"min": 1}, True),
        ("self.missing == 1", {}, False),
    ],
)
def test_a_rule_is_evaluated(rule, value, holds):
    anything = {"type": "array", "items": fields(name=STRING, v=INTEGER)}
    schema = ruled(
        rule,
        min=INTEGER,
        max=INTEGER,
        text=STRING,
        ratio={"type": "number"},
        namespace=STRING,
        when={**STRING, "format": "date-time"},
        items=anything,
        missing=INTEGER,
        **{"a-b": INTEGER},
    )
    assert (causes(schema, value) == []) is holds


def test_a_rule_says_its_message_its_reason_and_its_field():
    plain = ruled({"rule": "self.a > 1", "message": "a is too small"}, a=INTEGER)
    assert causes(plain, {"a": 1}) == ['spec.x: Invalid value: "object": a is too small']
    made = ruled({"rule": "self.a > 1", "messageExpression": "'a is ' + string(self.a)", "fieldPath": ".a"}, a=INTEGER)
    assert causes(made, {"a": 1}) == ['spec.x.a: Invalid value: "object": a is 1']
    required = ruled({"rule": "has(self.a)", "reason": "FieldValueRequired", "message": "set a"}, a=INTEGER)
    assert causes(required, {}) == ["spec.x: Required value: set a"]
    assert causes(ruled("self.a > 1", a=INTEGER), {"a": 1}) == [
        'spec.x: Invalid value: "object": failed rule: self.a > 1'
    ]


def test_rules_are_not_asked_about_a_value_of_the_wrong_shape():
    assert len(causes(ruled("self.a > 1", a=INTEGER), {"a": "x"})) == 1


FROZEN = {**STRING, "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is immutable"}]}


@pytest.mark.parametrize(
    ("value", "old", "expected"),
    [
        ({"a": "new"}, ABSENT, []),
        ({"a": "same"}, {"a": "same"}, []),
        ({"a": "new"}, {"a": "old"}, ['spec.x.a: Invalid value: "string": is immutable']),
        ({"a": "new"}, {}, []),
    ],
)
def test_a_transition_rule_compares_with_the_old_value(value, old, expected):
    assert causes(fields(a=FROZEN), value, old) == expected


def test_a_transition_rule_finds_the_same_item_of_a_keyed_list():
    schema = {**KEYED, "items": {**fields(name=STRING, v=FROZEN), "required": ["name"]}}
    old = [{"name": "a", "v": "1"}, {"name": "b", "v": "2"}]
    assert causes(schema, [{"name": "b", "v": "2"}, {"name": "c", "v": "9"}], old) == []
    assert causes(schema, [{"name": "b", "v": "3"}], old) == ['spec.x[0].v: Invalid value: "string": is immutable']


def test_what_an_update_leaves_alone_is_not_judged_again():
    schema = fields(a={**INTEGER, "maximum": 1}, b=INTEGER)
    assert causes(schema, {"a": 5, "b": 2}, {"a": 5, "b": 1}) == []
    assert len(causes(schema, {"a": 6, "b": 1}, {"a": 5, "b": 1})) == 1


@pytest.mark.parametrize(
    ("rule", "complaint"),
    [
        ({"rule": "self.a ="}, "Failed to parse"),
        ({"rule": ""}, "not specified"),
        ({"rule": "slef.a > 1"}, "undeclared reference to 'slef'"),
        ({"rule": "self.a.frobnicate()"}, "undeclared reference to 'frobnicate'"),
        ({"rule": "self.?a.orValue(1) > 1"}, "unsupported syntax"),
        ({"rule": "self == oldSelf", "optionalOldSelf": True}, "optionalOldSelf"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_when_it_is_compiled(rule, complaint):
    with pytest.raises(ValueError, match=complaint):
        Compiler().compile({**fields(a=INTEGER), "x-kubernetes-validations": [rule]})


def test_unknown_fields_are_pruned_and_named():
    node = custom_node(
        fields(
            spec=fields(
                known=STRING,
                open={
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "properties": {"deep": fields(a=INTEGER)},
                },
                items={"type": "array", "items": fields(a=INTEGER)},
                map={"type": "object", "additionalProperties": fields(a=INTEGER)},
                embedded={
                    "type": "object",
                    "x-kubernetes-embedded-resource": True,
                    "properties": {"spec": fields(a=INTEGER)},
                },
            )
        )
    )
    unknown = []
    document = {
        "apiVersion": "v1",
        "kind": "X",
        "metadata": {"name": "x", "nonsense": 1},
        "spec": {
            "known": "a",
            "lost": 1,
            "open": {"kept": 1, "deep": {"lost": 1}},
            "items": [{"a": 1}, {"b": 2}],
            "map": {"k": {"a": 1, "b": 2}},
            "embedded": {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"labels": {"a": "b"}},
                "spec": {"a": 1, "b": 1},
            },
        },
    }
    pruned = prune(node, document, "", unknown)
    assert unknown == [
        "metadata.nonsense",
        "spec.lost",
        "spec.open.deep.lost",
        "spec.items[1].b",
        "spec.map.k.b",
        "spec.embedded.spec.b",
    ]
    assert pruned["spec"]["open"] == {"kept": 1, "deep": {}}
    assert pruned["spec"]["embedded"]["metadata"] == {"labels": {"a": "b"}}
    assert pruned["spec"]["items"] == [{"a": 1}, {}]
    assert document["spec"]["lost"] == 1


def test_defaults_are_filled_in_from_the_outside_in():
    inner = {**fields(a={**INTEGER, "default": 1}, b=STRING), "default": {}}
    schema = fields(
        inner=inner,
        nulls={**STRING, "default": "d"},
        kept={**STRING, "default": "d", "nullable": True},
        items={"type": "array", "items": fields(a={**INTEGER, "default": 2})},
        map={"type": "object", "additionalProperties": fields(a={**INTEGER, "default": 3})},
    )
    value = {"nulls": None, "kept": None, "items": [{}, {"a": 9}], "map": {"k": {}}}
    apply_defaults(Compiler().compile(schema), value)
    assert value == {
        "inner": {"a": 1},
        "nulls": "d",
        "kept": None,
        "items": [{"a": 2}, {"a": 9}],
        "map": {"k": {"a": 3}},
    }


def test_a_default_is_not_shared_between_objects():
    node = Compiler().compile(
        fields(a={"type": "object", "default": {"b": [1]}, "properties": {"b": {"type": "array", "items": INTEGER}}})
    )
    first, second = {}, {}
    apply_defaults(node, first)
    first["a"]["b"].append(2)
    apply_defaults(node, second)
    assert second == {"a": {"b": [1]}}


def test_a_rule_at_the_root_sees_the_objects_name():
    rule = {"rule": "self.metadata.name.size() <= 5", "message": "the name is too long"}
    node = custom_node({**fields(spec=fields(a=INTEGER)), "x-kubernetes-validations": [rule]})
    long_name, short_name = ({"metadata": {"name": name}, "spec": {}} for name in ("abcdef", "abcde"))
    assert [str(cause) for cause in validate(node, Spot("", long_name))] == [
        '<nil>: Invalid value: "object": the name is too long'
    ]
    assert list(validate(node, Spot("", short_name))) == []


def test_a_definition_can_bound_the_name_of_its_objects():
    node = custom_node(fields(metadata=fields(name={**STRING, "maxLength": 3})))
    (cause,) = validate(node, Spot("", {"metadata": {"name": "abcd", "labels": {"a": "b"}}}))
    assert str(cause) == "metadata.name: Too long: may not be more than 3 bytes"
