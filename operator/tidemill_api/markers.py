"""Kubernetes annotations that stand in a type, beside the field they speak of, and end up in the CRD.

Each function gives a dict for pydantic's `json_schema_extra`; join several with `|`. A CEL rule that stands here is
repeated by a pydantic validator, so that the operator, which parses with pydantic, and the API server, which knows the
CRD only, refuse the same specs; one table of good and bad specs tests both. Refuses to know any one kind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

if TYPE_CHECKING:
    from pydantic.config import JsonDict, JsonValue

VALIDATIONS = "x-kubernetes-validations"
INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_TYPE = "x-kubernetes-list-type"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"

IMMUTABLE_RULE = "self == oldSelf"


def rules(*pairs: tuple[str, str]) -> JsonDict:
    """CEL rules as (rule, message); `self` is the field's value. The message names the field and the fix."""
    return {VALIDATIONS: [{"rule": rule, "message": message} for rule, message in pairs]}


def rule_about(field: str, rule: str, message: str) -> JsonDict:
    """A CEL rule that stands at the object that holds the field, since it looks at other fields too."""
    return {VALIDATIONS: [{"rule": rule, "message": message, "fieldPath": f".{field}"}]}


def immutable(field: str) -> JsonDict:
    """The field never changes once the object stands.

    A transition rule is only looked at where the field was present before and still is. The generator therefore
    writes the default of each field that carries this marker, so that it is always present.
    """
    return rules((IMMUTABLE_RULE, f"{field} is immutable: create a new job instead"))


def immutable_or_absent(field: str) -> JsonDict:
    """The same for an optional field without a default: it can neither change, nor come, nor go.

    Stands at the object that holds the field, since a rule at an absent field is never looked at.
    """
    rule = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    message = f"{field} is immutable: create a new job instead"
    return rule_about(field, rule, message)


def together(*markers: JsonDict) -> JsonDict:
    """The rules of several of these markers, for a node that has more than one."""
    found: list[JsonValue] = []
    for marker in markers:
        given = marker[VALIDATIONS]
        found += given if isinstance(given, list) else []
    return {VALIDATIONS: found}


def list_map(*keys: str) -> JsonDict:
    """A list of objects that are told apart by these fields: none may stand twice."""
    return {LIST_TYPE: "map", LIST_MAP_KEYS: list(keys)}


def _integer_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


_INTEGER_OR_TEXT: JsonDict = {INT_OR_STRING: True, "minimum": 1}

# The validator stands after the Field: before it, pydantic leaves the pattern out of the JSON schema.
CpuQuantity = Annotated[
    str,
    Field(
        max_length=16,
        pattern=r"^([1-9][0-9]{0,3}(\.[0-9]{1,3})?|0\.[0-9]{0,2}[1-9]|[1-9][0-9]{0,6}m)$",
        json_schema_extra=_INTEGER_OR_TEXT | {"maximum": 9999},
    ),
    BeforeValidator(_integer_as_text),
]
"""CPUs above 0, such as 2, "0.5" or 500m. A bare YAML number is taken too, as Kubernetes does."""

MemoryQuantity = Annotated[
    str,
    Field(
        max_length=20,
        pattern=r"^([1-9][0-9]{0,14}((\.[0-9]{1,3})?(k|M|G|T|Ki|Mi|Gi|Ti))?|0\.[0-9]{0,2}[1-9](k|M|G|T|Ki|Mi|Gi|Ti))$",
        json_schema_extra=_INTEGER_OR_TEXT | {"maximum": 999_999_999_999_999},
    ),
    BeforeValidator(_integer_as_text),
]
"""Bytes above 0, such as 16Gi, "1.5Gi" or 500M; a bare number is bytes, as Kubernetes does."""
