"""The rules of object metadata: what a server fills in, keeps, compares and refuses.

After k8s.io/apiserver/pkg/registry/rest and k8s.io/apimachinery/pkg/api/validation. Pure but for the clock and
random names, which a create needs.
"""

import uuid

from devcluster.apiserver.errors import Cause, bad_request, conflict, invalid
from devcluster.apiserver.objects import (
    DNS_1035_LABEL,
    DNS_1123_LABEL,
    DNS_1123_SUBDOMAIN,
    JsonObject,
    is_terminating,
    metadata,
    now_timestamp,
    random_suffix,
)
from devcluster.apiserver.requests import Target

# Names of these are path segments or labels rather than DNS subdomains.
_PATH_SEGMENT_NAMES = {
    "rbac.authorization.k8s.io/roles",
    "rbac.authorization.k8s.io/rolebindings",
    "rbac.authorization.k8s.io/clusterroles",
    "rbac.authorization.k8s.io/clusterrolebindings",
}
_LABEL_NAMES = {"/namespaces", "/services"}

# Metadata only the server writes; a client's value is replaced by the stored one.
_SERVER_FIELDS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")

_ANNOTATIONS_BYTES = 256 * 1024

_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_DNS_1035_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)


def check_type(target: Target, document: JsonObject) -> None:
    """Refuse a document of another kind or apiVersion than the path's. Raises `StatusError` 400.

    A built-in kind's document need not name them; they are filled in.
    """
    resource = target.resource
    if not resource.custom:
        # Typed clients leave out what the path says already; Go's decoder fills it in for the kinds it knows.
        document["apiVersion"] = document.get("apiVersion") or resource.api_version
        document["kind"] = document.get("kind") or resource.kind
    given = (document.get("apiVersion"), document.get("kind"))
    if given != (resource.api_version, resource.kind):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {resource.kind}): "
            f'got apiVersion "{given[0] or ""}" and kind "{given[1] or ""}", '
            f'want "{resource.api_version}" and "{resource.kind}"'
        )


def check_place(target: Target, document: JsonObject) -> None:
    """Refuse a name or namespace other than the path's; fill the namespace in. Raises `StatusError` 400."""
    meta = document.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise bad_request("metadata: must be an object")
    if target.resource.namespaced:
        if meta.get("namespace") not in (None, "", target.namespace):
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        meta["namespace"] = target.namespace
    else:
        meta.pop("namespace", None)
    if target.name and meta.setdefault("name", target.name) != target.name:
        raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({target.name})")


def fill_new(target: Target, document: JsonObject) -> None:
    """Give a new object its name, uid and creation time, and take away what only a server may set."""
    meta = document["metadata"]
    for field in (*_SERVER_FIELDS, "resourceVersion", "selfLink"):
        meta.pop(field, None)
    if not meta.get("name"):
        prefix = meta.get("generateName", "")
        if not prefix:
            raise invalid(
                target.resource.subject(),
                [Cause("FieldValueRequired", "metadata.name", "Required value: name or generateName is required")],
            )
        meta["name"] = prefix[:58] + random_suffix()
    meta["uid"] = str(uuid.uuid4())
    meta["creationTimestamp"] = now_timestamp()


def carry_over(old: JsonObject, new: JsonObject) -> None:
    """Keep the metadata that an update may not touch."""
    old_meta, new_meta = metadata(old), new["metadata"]
    new_meta.pop("selfLink", None)
    new_meta["resourceVersion"] = old_meta["resourceVersion"]
    for field in _SERVER_FIELDS:
        if field in old_meta:
            new_meta[field] = old_meta[field]
        else:
            new_meta.pop(field, None)


def check_preconditions(target: Target, old: JsonObject, new: JsonObject) -> None:
    """Refuse a write made against another revision or another object of the same name. Raises 409."""
    old_meta, new_meta = metadata(old), metadata(new)
    subject = target.resource.subject(target.name)
    uid = new_meta.get("uid")
    if uid and uid != old_meta.get("uid"):
        raise conflict(
            subject, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old_meta.get('uid')}"
        )
    revision = new_meta.get("resourceVersion")
    if revision and revision not in ("0", old_meta.get("resourceVersion")):
        raise conflict(subject)


def validate(target: Target, document: JsonObject, old: JsonObject | None) -> list[Cause]:
    """Return what is wrong with the object's metadata."""
    meta = metadata(document)
    causes = [] if old else _name_causes(target, str(meta.get("name", "")))
    causes += _map_causes(meta, "labels", 63) + _map_causes(meta, "annotations", None)
    causes += _owner_causes(meta)
    if old is not None and is_terminating(old):
        added = [f for f in meta.get("finalizers") or [] if f not in (metadata(old).get("finalizers") or [])]
        if added:
            listed = ", ".join(f'"{finalizer}"' for finalizer in added)
            causes.append(
                Cause(
                    "FieldValueForbidden",
                    "metadata.finalizers",
                    "Forbidden: no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{listed}}}",
                )
            )
    return causes


def _name_causes(target: Target, name: str) -> list[Cause]:
    storage = target.resource.storage
    if storage in _PATH_SEGMENT_NAMES:
        bad = name in (".", "..") or "/" in name or "%" in name
        return [_name_cause(name, 'may not be ".", ".." or contain "/" or "%"')] if bad else []
    if storage == "/services":
        pattern, rule, limit = DNS_1035_LABEL, _DNS_1035_RULE, 63
    elif storage in _LABEL_NAMES:
        pattern, rule, limit = DNS_1123_LABEL, _LABEL_RULE, 63
    else:
        pattern, rule, limit = DNS_1123_SUBDOMAIN, _SUBDOMAIN_RULE, 253
    causes = [] if pattern.match(name) else [_name_cause(name, rule)]
    if len(name) > limit:
        causes.append(_name_cause(name, f"must be no more than {limit} characters"))
    return causes


def _name_cause(name: str, rule: str) -> Cause:
    return Cause("FieldValueInvalid", "metadata.name", f'Invalid value: "{name}": {rule}')


def _map_causes(meta: JsonObject, field: str, limit: int | None) -> list[Cause]:
    values = meta.get(field)
    if values is None:
        return []
    path = f"metadata.{field}"
    if not isinstance(values, dict):
        return [Cause("FieldValueTypeInvalid", path, "Invalid value: must be an object of strings")]
    causes = []
    if field == "annotations" and sum(len(key) + len(str(text)) for key, text in values.items()) > _ANNOTATIONS_BYTES:
        message = f"Too long: may not be more than {_ANNOTATIONS_BYTES} bytes"
        causes.append(Cause("FieldValueTooLong", path, message))
    for key, value in values.items():
        if not isinstance(value, str):
            causes.append(Cause("FieldValueTypeInvalid", f"{path}.{key}", "Invalid value: must be a string"))
        elif limit is not None and len(value) > limit:
            causes.append(
                Cause("FieldValueInvalid", path, f'Invalid value: "{value}": must be no more than {limit} characters')
            )
    return causes


def _owner_causes(meta: JsonObject) -> list[Cause]:
    causes = []
    controllers = 0
    for index, owner in enumerate(meta.get("ownerReferences") or []):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                path = f"metadata.ownerReferences[{index}].{field}"
                causes.append(Cause("FieldValueInvalid", path, 'Invalid value: "": must not be empty'))
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        message = "Invalid value: Only one reference can have Controller set to true"
        causes.append(Cause("FieldValueInvalid", "metadata.ownerReferences", message))
    return causes


def next_generation(resource_has_status: bool, old: JsonObject, new: JsonObject) -> int | None:
    """Return the generation after an update: one more when the desired state changed.

    Desired state is everything but metadata, and but status where status is a subresource.
    """
    generation = metadata(old).get("generation")
    if generation is None:
        return None
    apart = {"metadata", "apiVersion", "kind"} | ({"status"} if resource_has_status else set())
    before = {field: value for field, value in old.items() if field not in apart}
    after = {field: value for field, value in new.items() if field not in apart}
    return int(generation) + (before != after)
