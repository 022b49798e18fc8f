"""Which resources are served right now: the built-in ones and those of the CustomResourceDefinitions.

Discovery, OpenAPI and routing all read from here; `generation` changes with every change, for their caches.
"""

from collections.abc import Iterable, Iterator

from devcluster.apiserver.resources import Resource


class Registry:
    """The served resources by group, version and plural."""

    def __init__(self, built_in: Iterable[Resource]) -> None:
        self._resources: dict[tuple[str, str, str], Resource] = {}
        self._custom: dict[str, tuple[Resource, ...]] = {}
        self.generation = 0
        for resource in built_in:
            self._resources[resource.group, resource.version, resource.plural] = resource

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource served at this place."""
        return self._resources.get((group, version, plural))

    def of_kind(self, group: str, version: str, kind: str) -> Resource | None:
        """Return the resource of a kind, as owner references name it."""
        for resource in self._resources.values():
            if (resource.group, resource.version, resource.kind) == (group, version, kind):
                return resource
        return None

    def of_storage(self, storage: str) -> Resource | None:
        """Return the resource that keeps its objects under `storage`, in the version they are kept in."""
        matching = [resource for resource in self._resources.values() if resource.storage == storage]
        stored = [resource for resource in matching if resource.api_version == resource.storage_version]
        return next(iter(stored or matching), None)

    def stored(self) -> Iterator[Resource]:
        """Yield one resource for each kind of stored object."""
        storages = {resource.storage for resource in self if "list" in resource.verbs}
        for storage in sorted(storages):
            resource = self.of_storage(storage)
            if resource is not None:
                yield resource

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._resources.values()))

    def groups(self) -> dict[str, list[str]]:
        """Return the versions of each named group (the core group left out), best version first."""
        groups: dict[str, list[str]] = {}
        for resource in self._resources.values():
            versions = groups.setdefault(resource.group, [])
            if resource.group and resource.version not in versions:
                versions.append(resource.version)
        groups.pop("", None)
        return {group: sorted(versions, key=version_priority) for group, versions in groups.items()}

    def in_version(self, group: str, version: str) -> list[Resource]:
        """Return the resources of one group and version, ordered by name."""
        found = [r for r in self._resources.values() if (r.group, r.version) == (group, version)]
        return sorted(found, key=lambda resource: resource.plural)

    def set_custom(self, definition: str, resources: Iterable[Resource]) -> None:
        """Serve exactly these resources for a CustomResourceDefinition; none takes it away."""
        for old in self._custom.pop(definition, ()):
            self._resources.pop((old.group, old.version, old.plural), None)
        new = tuple(resources)
        for resource in new:
            self._resources[resource.group, resource.version, resource.plural] = resource
        if new:
            self._custom[definition] = new
        self.generation += 1


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Return a sort key that puts versions in Kubernetes' order: v2, v1, v1beta1, v1alpha1, others."""
    for stage, mark in ((1, "beta"), (2, "alpha")):
        head, found, tail = version.partition(mark)
        if found and head[:1] == "v" and head[1:].isdigit() and tail.isdigit():
            return (stage, -int(head[1:]), -int(tail), version)
    if version[:1] == "v" and version[1:].isdigit():
        return (0, -int(version[1:]), 0, version)
    return (3, 0, 0, version)
