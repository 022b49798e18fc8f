"""RBAC rules: what one allows, whether some cover others, and how one reads. Pure.

After k8s.io/kubernetes/pkg/apis/rbac/v1 (evaluation_helpers.go) and k8s.io/component-helpers/auth/rbac/validation.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from devcluster.apiserver.access.attributes import Attributes
from devcluster.apiserver.objects import JsonObject

ALL = "*"


@dataclass(frozen=True)
class Rule:
    """One PolicyRule: verbs on resources of groups (of these names, if any), or on paths."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: frozenset[str] = frozenset()

    @classmethod
    def from_policy(cls, rule: JsonObject) -> "Rule":
        """Read a rule as it stands in a Role."""

        def words(field: str) -> frozenset[str]:
            return frozenset(word for word in rule.get(field) or () if isinstance(word, str))

        return cls(
            words("verbs"), words("apiGroups"), words("resources"), words("resourceNames"), words("nonResourceURLs")
        )

    def allows_kind(self, attributes: Attributes) -> bool:
        """Tell whether the rule allows the action on objects of some name, or on the path."""
        if attributes.verb not in self.verbs and ALL not in self.verbs:
            return False
        if not attributes.resource:
            return any(_path_covers(path, attributes.path) for path in self.paths)
        if attributes.group not in self.groups and ALL not in self.groups:
            return False
        return _resource_covers(self.resources, attributes.combined)

    def allows(self, attributes: Attributes) -> bool:
        """Tell whether the rule allows the action."""
        return self.allows_kind(attributes) and (not self.names or attributes.name in self.names)

    def atoms(self) -> Iterator["Rule"]:
        """Yield the rule as rules of one verb, group, resource and name each, or of one verb and path."""
        one = frozenset[str]
        names: Iterable[str | None] = sorted(self.names) or (None,)
        for group, resource, name, verb in itertools.product(
            sorted(self.groups), sorted(self.resources), names, sorted(self.verbs)
        ):
            yield Rule(one([verb]), one([group]), one([resource]), one([name] if name is not None else []))
        for path, verb in itertools.product(sorted(self.paths), sorted(self.verbs)):
            yield Rule(one([verb]), paths=one([path]))

    def covers(self, atom: "Rule") -> bool:
        """Tell whether everything that an atom allows is allowed by this rule."""
        if not (ALL in self.verbs or atom.verbs <= self.verbs):
            return False
        if atom.paths:
            return all(any(_path_covers(own, path) for own in self.paths) for path in atom.paths)
        return (
            (ALL in self.groups or atom.groups <= self.groups)
            and all(_resource_covers(self.resources, resource) for resource in atom.resources)
            and (not self.names or (bool(atom.names) and atom.names <= self.names))
        )

    def __str__(self) -> str:
        shown = (
            ("APIGroups", self.groups),
            ("Resources", self.resources),
            ("ResourceNames", self.names),
            ("NonResourceURLs", self.paths),
            ("Verbs", self.verbs),
        )
        quoted = ((field, " ".join(f'"{word}"' for word in sorted(words))) for field, words in shown if words)
        return "{" + ", ".join(f"{field}:[{words}]" for field, words in quoted) + "}"


EVERYTHING = (
    Rule(frozenset({ALL}), frozenset({ALL}), frozenset({ALL})),
    Rule(frozenset({ALL}), paths=frozenset({ALL})),
)
"""The rules of cluster-admin."""


def _resource_covers(own: frozenset[str], combined: str) -> bool:
    if ALL in own or combined in own:
        return True
    _, slash, subresource = combined.partition("/")
    return bool(slash) and f"*/{subresource}" in own


def _path_covers(own: str, path: str) -> bool:
    return own == path or (own.endswith(ALL) and path.startswith(own.rstrip(ALL)))


def missing(owned: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """Return the atoms of `wanted` that no rule of `owned` covers, those that differ by verb alone joined."""
    held = tuple(owned)
    lacking = [atom for rule in wanted for atom in rule.atoms() if not any(own.covers(atom) for own in held)]
    joined: dict[Any, Rule] = {}
    for atom in lacking:
        place = (atom.groups, atom.resources, atom.names, atom.paths)
        before = joined.get(place)
        joined[place] = Rule(atom.verbs | before.verbs, *place) if before else atom
    return list(joined.values())
