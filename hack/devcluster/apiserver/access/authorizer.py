"""Decides by the RBAC objects in the store who may do what.

After k8s.io/kubernetes/plugin/pkg/auth/authorizer/rbac and pkg/registry/rbac/validation/rule.go. Decisions are kept
until an RBAC object is written, so that a repeated one costs a look into a dictionary.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from devcluster.apiserver.access.attributes import Attributes
from devcluster.apiserver.access.rules import Rule
from devcluster.apiserver.access.users import User, account_user_name
from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.store import Entry, Event, Key, Store

GROUP = "rbac.authorization.k8s.io"
ROLES, ROLE_BINDINGS = f"{GROUP}/roles", f"{GROUP}/rolebindings"
CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS = f"{GROUP}/clusterroles", f"{GROUP}/clusterrolebindings"

# Whoever asks for ever new things must not fill the memory: beyond so many answers all are forgotten.
_MOST_ANSWERS = 20_000


class Decision(NamedTuple):
    """Whether an action is allowed, and by which binding; or what stood in the way of finding out."""

    allowed: bool
    reason: str = ""


class RoleNotFoundError(Exception):
    """A binding's role does not exist; `kind` is Role or ClusterRole."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f'{kind.lower()}.{GROUP} "{name}" not found')
        self.kind = kind
        self.name = name


@dataclass(frozen=True)
class Grant:
    """One rule that a user holds, as it stands in the role, and the binding it comes by."""

    rule: Rule
    policy: JsonObject
    source: str


@dataclass(frozen=True)
class _Held:
    """What a user holds in a namespace: the grants, and the bindings whose role is missing."""

    grants: tuple[Grant, ...]
    errors: tuple[str, ...]


@dataclass
class _Answer:
    """Who allows an action on any name, and on single names; `tail` says what could not be found out."""

    always: str = ""
    names: dict[str, str] = field(default_factory=dict)
    tail: str = ""


class Authorizer:
    """Answers for any user. It must be made before the store is written to by others."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[tuple[str, tuple[str, ...], str], _Held] = {}
        self._answers: dict[tuple[str, tuple[str, ...], Attributes], _Answer] = {}
        store.listen(self._observe)

    def decide(self, user: User, attributes: Attributes) -> Decision:
        """Tell whether a user may do this."""
        if user.is_master:
            return Decision(True)
        nameless = attributes._replace(name="")
        answer = self._answers.get((user.name, user.groups, nameless))
        if answer is None:
            answer = self._judge(user, nameless)
        source = answer.always or answer.names.get(attributes.name, "")
        return Decision(True, f"RBAC: allowed by {source}") if source else Decision(False, answer.tail)

    def grants(self, user: User, namespace: str) -> tuple[Grant, ...]:
        """Return every rule a user holds in a namespace; with an empty one, those held everywhere."""
        return self._of(user, namespace).grants

    def role_rules(self, reference: JsonObject, namespace: str) -> list[JsonObject]:
        """Return the rules of the role that a binding refers to. Raises `RoleNotFoundError`."""
        kind, name = str(reference.get("kind")), str(reference.get("name"))
        key = Key(ROLES, namespace, name) if kind == "Role" else Key(CLUSTER_ROLES, "", name)
        entry = self._store.get(key)
        if entry is None or (kind == "Role" and not namespace):
            raise RoleNotFoundError(kind, name)
        return [rule for rule in entry.document.get("rules") or () if isinstance(rule, dict)]

    def _judge(self, user: User, nameless: Attributes) -> _Answer:
        held = self._of(user, nameless.namespace)
        answer = _Answer()
        for grant in held.grants:
            if not grant.rule.allows_kind(nameless):
                continue
            if not grant.rule.names:
                answer.always = grant.source
                break
            for name in grant.rule.names:
                answer.names.setdefault(name, grant.source)
        if held.errors:
            told = held.errors[0] if len(held.errors) == 1 else f"[{', '.join(held.errors)}]"
            answer.tail = f"RBAC: {told}"
        if len(self._answers) >= _MOST_ANSWERS:
            self._answers.clear()
        self._answers[user.name, user.groups, nameless] = answer
        return answer

    def _of(self, user: User, namespace: str) -> _Held:
        place = (user.name, user.groups, namespace)
        held = self._held.get(place)
        if held is None:
            if len(self._held) >= _MOST_ANSWERS:
                self._held.clear()
            held = self._held[place] = self._collect(user, namespace)
        return held

    def _collect(self, user: User, namespace: str) -> _Held:
        grants: list[Grant] = []
        errors: dict[str, None] = {}
        for binding in self._bindings(namespace):
            document, place = binding.document, binding.key.namespace
            subject = next((one for one in _subjects(document) if _is_meant(user, one, place)), None)
            if subject is None:
                continue
            reference = document.get("roleRef") or {}
            try:
                rules = self.role_rules(reference, place)
            except RoleNotFoundError as missing:
                errors[str(missing)] = None
                continue
            source = _described(document, subject)
            grants += [Grant(Rule.from_policy(rule), rule, source) for rule in rules]
        return _Held(tuple(grants), tuple(errors))

    def _bindings(self, namespace: str) -> Iterable[Entry]:
        yield from self._store.list(CLUSTER_ROLE_BINDINGS)
        if namespace:
            yield from self._store.list(ROLE_BINDINGS, namespace)

    def _observe(self, event: Event) -> None:
        if event.entry.key.storage.startswith(GROUP):
            self._held.clear()
            self._answers.clear()


def _subjects(binding: JsonObject) -> Iterator[JsonObject]:
    yield from (subject for subject in binding.get("subjects") or () if isinstance(subject, dict))


def _is_meant(user: User, subject: JsonObject, namespace: str) -> bool:
    """Tell whether a subject of a binding in `namespace` (empty: a ClusterRoleBinding) is this user."""
    name = subject.get("name")
    match subject.get("kind"):
        case "User":
            return name == user.name
        case "Group":
            return name in user.groups
        case "ServiceAccount":
            place = subject.get("namespace") or namespace
            return bool(place) and account_user_name(place, str(name)) == user.name
    return False


def _described(binding: JsonObject, subject: JsonObject) -> str:
    meta, reference = metadata(binding), binding.get("roleRef") or {}
    place = meta.get("namespace", "")
    kind, name = ("RoleBinding", f"{meta['name']}/{place}") if place else ("ClusterRoleBinding", meta["name"])
    who = str(subject.get("name"))
    if subject.get("kind") == "ServiceAccount":
        who = f"{who}/{subject.get('namespace') or place}"
    return f'{kind} "{name}" of {reference.get("kind")} "{reference.get("name")}" to {subject.get("kind")} "{who}"'
