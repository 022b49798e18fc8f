"""From a client's document to a valid object: unknown fields, pruning, defaults and the schema's rules."""

from collections.abc import Iterable

from devcluster.apiserver import openapi_definitions
from devcluster.apiserver.defaulting import apply_defaults
from devcluster.apiserver.errors import Cause, bad_request
from devcluster.apiserver.objects import JsonObject, clone, metadata, without_nulls
from devcluster.apiserver.pruning import prune
from devcluster.apiserver.requests import Target, WriteOptions
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.schema import ABSENT
from devcluster.apiserver.schemas import node_of
from devcluster.apiserver.validation import Spot
from devcluster.apiserver.validation import validate as judge

# Required in the published definitions, but filled with a zero value by Go clients and accepted without.
_NOT_ENFORCED = ("status", "endpoints")
# Left out of metadata when empty, as Go's encoder does.
_OMITTED_EMPTY = ("labels", "annotations", "finalizers", "ownerReferences")


def admit(resource: Resource, document: JsonObject, options: WriteOptions) -> JsonObject:
    """Return the document pruned and defaulted.

    Raises `StatusError` 400 for unknown fields under `fieldValidation=Strict`, and for a built-in kind's field
    of the wrong type; unknown fields under `Warn` are added to the options' warnings.
    """
    node = node_of(resource)
    if resource.custom:
        document = {**document, "metadata": without_nulls(metadata(document))}
    else:
        document = without_nulls(document)
    pruned = _pruned(resource, document, options)
    meta = pruned["metadata"]
    pruned["metadata"] = {name: value for name, value in meta.items() if name not in _OMITTED_EMPTY or value}
    if resource.custom:
        apply_defaults(node, pruned)
    else:
        _check_types(resource, pruned)
    return pruned


def as_read(resource: Resource, stored: JsonObject) -> JsonObject:
    """Return a stored object as a write finds it: with the defaults that its schema has got since it was stored.

    Without them a write of anything would seem to change the fields that have a default by now.
    """
    if not resource.custom:
        return stored
    document: JsonObject = clone(stored)
    apply_defaults(node_of(resource), document)
    return document


def admit_config(resource: Resource, config: JsonObject, options: WriteOptions) -> JsonObject:
    """Return what a manager applies, without unknown fields and without nulls. Raises `StatusError` 400."""
    return _pruned(resource, without_nulls(config), options)


def _pruned(resource: Resource, document: JsonObject, options: WriteOptions) -> JsonObject:
    unknown: list[str] = []
    pruned: JsonObject = prune(node_of(resource), document, "", unknown)
    named = [f'unknown field "{path}"' for path in unknown]
    if named and options.field_validation == "Strict":
        raise bad_request(_not_handled(resource, f"strict decoding error: {', '.join(named)}"))
    if options.field_validation == "Warn":
        options.warnings.extend(named)
    return pruned


def _not_handled(resource: Resource, why: str) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: {why}'


def check_metadata(resource: Resource, document: JsonObject) -> None:
    """Refuse metadata of the wrong shape, for every kind. Raises `StatusError` 400."""
    meta = document.get("metadata") or {}
    node = openapi_definitions.compiled(openapi_definitions.OBJECT_META)
    _refuse_wrong_types(resource, judge(node, Spot("metadata", without_nulls(meta))))


def _check_types(resource: Resource, document: JsonObject) -> None:
    """Refuse what Go could not decode into the kind's struct."""
    _refuse_wrong_types(resource, judge(node_of(resource), Spot("", document)))


def _refuse_wrong_types(resource: Resource, causes: Iterable[Cause]) -> None:
    for cause in causes:
        if cause.reason == "FieldValueTypeInvalid" or "must be of type" in cause.message:
            raise bad_request(_not_handled(resource, f"json: cannot unmarshal {cause.field}: {cause.message}"))


def validate(target: Target, new: JsonObject, old: JsonObject | None) -> list[Cause]:
    """Return what is wrong with the object by its schema."""
    resource = target.resource
    causes = list(judge(node_of(resource), Spot("", new, ABSENT if old is None else old)))
    if resource.custom:
        return causes
    if target.subresource == "status":
        return []
    # A fault that the stored object has already does not stand against changing something else.
    known = set(judge(node_of(resource), Spot("", old))) if causes and old is not None else set()
    return [cause for cause in causes if cause not in known and cause.field.split(".")[0] not in _NOT_ENFORCED]
