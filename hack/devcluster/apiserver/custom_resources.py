"""From a CustomResourceDefinition to the resources it brings, and to its own status.

Pure. The registry is fed from the store's events by `controllers`, so that a restart and a create take
the same way.
"""

from devcluster.apiserver.objects import JsonObject, metadata, now_timestamp
from devcluster.apiserver.resources import Column, Resource, ScalePaths

STORAGE = "apiextensions.k8s.io/customresourcedefinitions"

AGE_COLUMN = Column("Age", "date", ".metadata.creationTimestamp")


def resources_of(definition: JsonObject) -> list[Resource]:
    """Return one resource for each served version of the definition."""
    spec = definition["spec"]
    storage_version = next((v["name"] for v in spec["versions"] if v.get("storage")), spec["versions"][0]["name"])
    return [_resource(spec, version, storage_version) for version in spec["versions"] if version.get("served")]


def _resource(spec: JsonObject, version: JsonObject, storage_version: str) -> Resource:
    names, group = spec["names"], spec["group"]
    subresources = version.get("subresources") or {}
    columns = tuple(_column(column) for column in version.get("additionalPrinterColumns") or ())
    return Resource(
        group=group,
        version=version["name"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        kind=names["kind"],
        list_kind=names.get("listKind") or f"{names['kind']}List",
        namespaced=spec.get("scope") == "Namespaced",
        storage=f"{group}/{names['plural']}",
        storage_version=f"{group}/{storage_version}",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        status="status" in subresources,
        scale=_scale(subresources.get("scale")),
        schema=(version.get("schema") or {}).get("openAPIV3Schema"),
        schema_name=".".join([*reversed(group.split(".")), version["name"], names["kind"]]),
        columns=columns or (AGE_COLUMN,),
        selectable_fields=tuple(f["jsonPath"].lstrip(".") for f in version.get("selectableFields") or ()),
        custom=True,
    )


def _column(column: JsonObject) -> Column:
    return Column(
        name=column["name"],
        type=column["type"],
        json_path=column["jsonPath"],
        priority=column.get("priority", 0),
        format=column.get("format", ""),
        description=column.get("description", ""),
    )


def _scale(scale: JsonObject | None) -> ScalePaths | None:
    if scale is None:
        return None
    return ScalePaths(
        spec_replicas=_steps(scale["specReplicasPath"]),
        status_replicas=_steps(scale["statusReplicasPath"]),
        selector=_steps(scale.get("labelSelectorPath", "")),
    )


def _steps(path: str) -> tuple[str, ...]:
    return tuple(step for step in path.split(".") if step)


def with_status(definition: JsonObject, taken: dict[str, str]) -> JsonObject:
    """Return the definition with the status that its names and versions give it.

    `taken` maps names (plural, singular, short, kind) of the same group to the definition that has them already.
    """
    spec = definition["spec"]
    names = {**spec["names"]}
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    wanted = [names["plural"], names["singular"], names["kind"], names["listKind"], *names.get("shortNames", ())]
    clash = next(
        (name for name in wanted if taken.get(name, metadata(definition)["name"]) != metadata(definition)["name"]), None
    )
    old = definition.get("status") or {}
    if clash:
        accepted = _condition("NamesAccepted", "False", "NameConflict", f'"{clash}" is already in use')
        established = _condition("Established", "False", "NotAccepted", "not all names are accepted")
    else:
        accepted = _condition("NamesAccepted", "True", "NoConflicts", "no conflicts found")
        established = _condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
    stored = next((v["name"] for v in spec["versions"] if v.get("storage")), "")
    stored_versions = list(old.get("storedVersions") or [])
    if stored and stored not in stored_versions:
        stored_versions.append(stored)
    status = {
        "acceptedNames": names if not clash else old.get("acceptedNames", {"plural": "", "kind": ""}),
        "conditions": _merged(old.get("conditions") or [], [accepted, established]),
        "storedVersions": stored_versions,
    }
    return {**definition, "spec": {**spec, "names": names}, "status": status}


def is_established(definition: JsonObject) -> bool:
    """Tell whether the definition's resources are to be served."""
    conditions = (definition.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def _condition(kind: str, status: str, reason: str, message: str) -> JsonObject:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _merged(old: list[JsonObject], new: list[JsonObject]) -> list[JsonObject]:
    """Return the conditions with `lastTransitionTime` moved only where the status flipped."""
    merged = {condition["type"]: condition for condition in old}
    for condition in new:
        before = merged.get(condition["type"])
        same = before is not None and before.get("status") == condition["status"]
        moment = before["lastTransitionTime"] if before and same else now_timestamp()
        merged[condition["type"]] = {"lastTransitionTime": moment, **condition}
    return list(merged.values())


def names_taken(definitions: list[JsonObject], group: str) -> dict[str, str]:
    """Return which names of `group` belong to which definition."""
    taken: dict[str, str] = {}
    for definition in definitions:
        if definition["spec"]["group"] != group or not is_established(definition):
            continue
        names = definition["status"]["acceptedNames"]
        for name in (
            names["plural"],
            names.get("singular"),
            names["kind"],
            names.get("listKind"),
            *names.get("shortNames", ()),
        ):
            if name:
                taken[name] = metadata(definition)["name"]
    return taken
