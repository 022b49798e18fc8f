"""Who owns which fields: keeps `metadata.managedFields` with every create, update and patch.

After k8s.io/apimachinery/pkg/util/managedfields. A write that is no apply owns what it changes, and takes it from
everyone else. Pure but for the clock.
"""

from dataclasses import dataclass, replace

from devcluster.apiserver.field_sets import FieldSet, decode_fields, encode_fields, leaves
from devcluster.apiserver.objects import JsonObject, metadata, now_timestamp
from devcluster.apiserver.schema import Node

APPLY, UPDATE = "Apply", "Update"


@dataclass(frozen=True)
class Writer:
    """Who writes: a manager's name, how (Apply or Update), in which version and through which subresource."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""

    def __str__(self) -> str:
        return f'"{self.manager}"' + (f' with subresource "{self.subresource}"' if self.subresource else "")


@dataclass(frozen=True)
class Ownership:
    """What one writer owns, and when it last changed something (RFC 3339)."""

    writer: Writer
    fields: FieldSet
    time: str = ""


def read(document: JsonObject) -> list[Ownership]:
    """Return the owners an object names; entries that cannot be read are left out."""
    found = []
    for entry in metadata(document).get("managedFields") or ():
        if not isinstance(entry, dict) or not entry.get("operation") or not isinstance(entry.get("fieldsV1"), dict):
            continue
        writer = Writer(
            entry.get("manager", ""), entry["operation"], entry.get("apiVersion", ""), entry.get("subresource", "")
        )
        found.append(Ownership(writer, decode_fields(entry["fieldsV1"]), entry.get("time") or ""))
    return found


def write(document: JsonObject, owners: list[Ownership]) -> None:
    """Put the owners into an object, in place; those without a field are left out."""
    entries = [_entry(owner) for owner in owners if owner.fields]
    if entries:
        document["metadata"]["managedFields"] = entries
    else:
        document["metadata"].pop("managedFields", None)


def _entry(owner: Ownership) -> JsonObject:
    entry: JsonObject = {
        "apiVersion": owner.writer.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": encode_fields(owner.fields),
        "manager": owner.writer.manager,
        "operation": owner.writer.operation,
    }
    if owner.writer.subresource:
        entry["subresource"] = owner.writer.subresource
    if owner.time:
        entry["time"] = owner.time
    return entry


@dataclass(frozen=True)
class Difference:
    """The fields in which two documents differ."""

    changed: FieldSet
    removed: FieldSet


def compare(node: Node, old: JsonObject, new: JsonObject) -> Difference:
    """Return what was added or changed, and what was removed."""
    before, after = leaves(node, old), leaves(node, new)
    changed = frozenset(path for path, value in after.items() if path not in before or before[path] != value)
    return Difference(changed, frozenset(before) - frozenset(after))


def track_update(node: Node, writer: Writer, old: JsonObject | None, new: JsonObject) -> None:
    """Record in `new` that `writer` made it out of `old` (None: it did not exist). Changes `new` in place."""
    owners = [] if old is None else _base(old, new)
    difference = compare(node, old or {}, new)
    if not difference.changed and not difference.removed:
        write_if_different(new, owners)
        return
    gone = difference.changed | difference.removed
    others = [replace(o, fields=o.fields - gone) for o in owners if o.writer != writer]
    own = next((o.fields for o in owners if o.writer == writer), frozenset())
    mine = Ownership(writer, (own - difference.removed) | difference.changed, now_timestamp())
    write(new, [*others, mine])


def write_if_different(document: JsonObject, owners: list[Ownership]) -> None:
    """Put the owners into an object unless it names the very same already."""
    if read(document) != [owner for owner in owners if owner.fields]:
        write(document, owners)


def _base(old: JsonObject, new: JsonObject) -> list[Ownership]:
    """Return the owners before a write: the stored ones, or those the client set on purpose."""
    given = metadata(new).get("managedFields")
    if given is None:
        owners = read(old)
        write(new, owners)
        return owners
    if given == metadata(old).get("managedFields"):
        return read(old)
    return read(new)
