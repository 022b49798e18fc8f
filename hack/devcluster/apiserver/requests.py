"""Reads what a request asks for out of its method, path and query.

Pure; the grammar is k8s.io/apiserver/pkg/endpoints/request.RequestInfo. What is not a resource path
(discovery, OpenAPI, health) is routed elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from devcluster.apiserver.errors import StatusError, bad_request, unknown_path
from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.store import Key

_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(frozen=True)
class Target:
    """The resource, and where given the namespace, object and subresource a path names."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def key(self) -> Key:
        """Where the named object lives."""
        return self.resource.key(self.namespace, self.name)


class Guard(Protocol):
    """What a user's rights have to say to a write, beyond that he may make it. Methods raise `StatusError` 403."""

    def check_create(self, target: Target) -> None:
        """Refuse an apply that would create."""

    def check_write(self, target: Target, new: JsonObject, old: JsonObject | None) -> None:
        """Refuse a write by what it says; `old` is None on creation."""


@dataclass(frozen=True)
class WriteOptions:
    """How a write is to be made.

    `field_manager` owns the fields the write sets; `field_validation` is Strict, Warn or Ignore; `force` takes
    fields over from other managers in a server-side apply, which `apply` says it is. `warnings` gathers what the client
    is to be told; `guard` is None where the writer may do everything.
    """

    dry_run: bool = False
    field_manager: str = "unknown"
    field_validation: str = "Warn"
    force: bool = False
    apply: bool = False
    guard: Guard | None = None
    warnings: list[str] = field(default_factory=list)


def parse_target(registry: Registry, path: str) -> Target:
    """Find what `/api/v1/...` or `/apis/<group>/<version>/...` names. Raises `StatusError` 404."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        raise unknown_path()
    namespace = ""
    if (
        rest[0] == "namespaces"
        and len(rest) > 2
        and not (len(rest) == 3 and rest[2] in _NAMESPACE_SUBRESOURCES and not group)
    ):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        raise unknown_path()
    plural, name, subresource = (*rest, "", "")[:3]
    resource = registry.find(group, version, plural)
    if resource is None or (namespace and not resource.namespaced):
        raise unknown_path()
    if resource.namespaced and name and not namespace:
        raise unknown_path()
    return Target(resource, namespace, name, subresource)


def parse_write_options(query: Mapping[str, str], user_agent: str, guard: Guard | None = None) -> WriteOptions:
    """Read the options of a write. Raises `StatusError` 400 for a value that is none of the allowed."""
    dry_run = query.get("dryRun", "")
    if dry_run not in ("", "All"):
        raise bad_request(f'dryRun: Unsupported value: "{dry_run}": supported values: "All"')
    validation = query.get("fieldValidation") or "Warn"
    if validation not in ("Strict", "Warn", "Ignore"):
        raise bad_request(
            f'fieldValidation: Unsupported value: "{validation}": supported values: "Ignore", "Strict", "Warn"'
        )
    manager = query.get("fieldManager") or user_agent.split("/", maxsplit=1)[0] or "unknown"
    force = query.get("force", "").lower() in ("true", "1")
    return WriteOptions(bool(dry_run), manager[:128], validation, force, guard=guard)


def parse_revision(text: str) -> int:
    """Read a resourceVersion; empty is 0. Raises `StatusError` 400."""
    if not text:
        return 0
    if not text.isdigit():
        raise _invalid_revision(text)
    return int(text)


def _invalid_revision(text: str) -> StatusError:
    return bad_request(f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')


def parse_boolean(query: Mapping[str, str], name: str) -> bool:
    """Read a boolean query parameter, false where absent."""
    return query.get(name, "").lower() in ("true", "1")


def parse_seconds(query: Mapping[str, str], name: str) -> int | None:
    """Read a non-negative whole number of seconds. Raises `StatusError` 400."""
    text = query.get(name, "")
    if not text:
        return None
    if not text.isdigit():
        raise bad_request(f'{name}: Invalid value: "{text}": must be a whole number of seconds')
    return int(text)
