"""Discovery: which groups, versions and resources there are, in the old and in the aggregated form.

Pure functions of the registry.
"""

from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.resources import Resource

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

# The Kubernetes release whose API this server speaks.
VERSION = {
    "major": "1",
    "minor": "35",
    "gitVersion": "v1.35.0-tidemill-devcluster",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


def core_versions(address: str) -> JsonObject:
    """Return what `/api` answers; `address` is host:port."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_list(registry: Registry) -> JsonObject:
    """Return what `/apis` answers."""
    groups = [_group(name, versions) for name, versions in registry.groups().items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def one_group(registry: Registry, name: str) -> JsonObject | None:
    """Return what `/apis/<group>` answers; None for an unknown group."""
    versions = registry.groups().get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def _group(name: str, versions: list[str]) -> JsonObject:
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def resource_list(registry: Registry, group: str, version: str) -> JsonObject | None:
    """Return what `/apis/<group>/<version>` answers; None for an unknown version."""
    resources = registry.in_version(group, version)
    if not resources:
        return None
    listed = [item for resource in resources for item in _listed(resource)]
    api_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": listed}


def _other_names(resource: Resource) -> JsonObject:
    """The names that kubectl takes for a resource beside its own; left out where there are none."""
    names = {"shortNames": list(resource.short_names), "categories": list(resource.categories)}
    return {field: given for field, given in names.items() if given}


def _listed(resource: Resource) -> list[JsonObject]:
    entry: JsonObject = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    entry |= _other_names(resource)
    below = [
        {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": kind["kind"],
            "verbs": verbs,
        }
        | ({"group": kind["group"], "version": kind["version"]} if kind["group"] != resource.group else {})
        for name, kind, verbs in subresources(resource)
    ]
    return [entry, *below]


_OWN_KIND = {"status", "log", "finalize"}
_SUBRESOURCE_KINDS = {
    "binding": ("", "v1", "Binding"),
    "eviction": ("policy", "v1", "Eviction"),
    "token": ("authentication.k8s.io", "v1", "TokenRequest"),
    "scale": ("autoscaling", "v1", "Scale"),
}
_SUBRESOURCE_VERBS = {
    "status": ["get", "patch", "update"],
    "scale": ["get", "patch", "update"],
    "log": ["get"],
    "finalize": ["update"],
}


def subresources(resource: Resource) -> list[tuple[str, dict[str, str], list[str]]]:
    """Return (name, group/version/kind, verbs) of each subresource."""
    names = [*resource.subresources]
    names += ["status"] if resource.status else []
    names += ["scale"] if resource.scale else []
    found = []
    for name in sorted(names):
        own = (resource.group, resource.version, resource.kind)
        group, version, kind = own if name in _OWN_KIND else _SUBRESOURCE_KINDS[name]
        verbs = _SUBRESOURCE_VERBS.get(name, ["create"])
        found.append((name, {"group": group, "version": version, "kind": kind}, verbs))
    return found


def aggregated(registry: Registry, core: bool) -> JsonObject:
    """Return everything in one `APIGroupDiscoveryList`: the core group for `/api`, the others for `/apis`."""
    groups = {"": ["v1"]} if core else registry.groups()
    items = []
    for group, versions in groups.items():
        listed = [
            {
                "version": version,
                "resources": [_aggregated(resource) for resource in registry.in_version(group, version)],
                "freshness": "Current",
            }
            for version in versions
        ]
        items.append({"metadata": {"name": group, "creationTimestamp": None}, "versions": listed})
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated(resource: Resource) -> JsonObject:
    entry: JsonObject = {
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    entry |= _other_names(resource)
    below = [
        {"subresource": name, "responseKind": kind, "verbs": verbs} for name, kind, verbs in subresources(resource)
    ]
    if below:
        entry["subresources"] = below
    return entry
