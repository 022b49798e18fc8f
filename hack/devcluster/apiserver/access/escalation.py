"""Nobody hands out rights that he does not hold himself, unless he may `escalate` or `bind`.

After k8s.io/kubernetes/pkg/registry/rbac (escalation_check.go, */policybased/storage.go).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from devcluster.apiserver.access.attributes import Attributes, refusal_text, refused
from devcluster.apiserver.access.authorizer import GROUP, Authorizer, RoleNotFoundError
from devcluster.apiserver.access.rules import EVERYTHING, Rule, missing
from devcluster.apiserver.access.users import User
from devcluster.apiserver.errors import Subject, not_found
from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.requests import Target

# Metadata that an update may change without touching what the object grants.
_HARMLESS = ("ownerReferences", "finalizers", "managedFields", "resourceVersion")


@dataclass(frozen=True)
class RightsGuard:
    """Judges the writes of one user who is not a master. Methods raise `StatusError` 403 (404 for a missing role)."""

    authorizer: Authorizer
    user: User

    def check_create(self, target: Target) -> None:
        """Refuse a server-side apply that creates, where the user may patch but not create."""
        wanted = _attributes("create", target)
        if not self.authorizer.decide(self.user, wanted).allowed:
            raise refused(target.resource.subject(target.name), refusal_text(self.user.name, wanted))

    def check_write(self, target: Target, new: JsonObject, old: JsonObject | None) -> None:
        """Refuse a role or binding that grants more than the user holds; `old` is None on creation."""
        if target.resource.group != GROUP or (old is not None and _harmless(new, old)):
            return
        named = Target(target.resource, target.namespace, metadata(new)["name"])
        if target.resource.plural in ("roles", "clusterroles"):
            self._check_role(named, new, old)
        elif target.resource.plural in ("rolebindings", "clusterrolebindings"):
            self._check_binding(named, new)

    def _check_role(self, target: Target, new: JsonObject, old: JsonObject | None) -> None:
        if self.authorizer.decide(self.user, _attributes("escalate", target)).allowed:
            return
        self._check_held(target, new.get("rules") or ())
        aggregates = new.get("aggregationRule") or (old or {}).get("aggregationRule")
        if aggregates and self._lacking(target.namespace, EVERYTHING):
            subject = target.resource.subject(target.name)
            raise refused(subject, "must have cluster-admin privileges to use an aggregationRule")

    def _check_binding(self, target: Target, binding: JsonObject) -> None:
        reference = binding.get("roleRef") or {}
        plural = "roles" if reference.get("kind") == "Role" else "clusterroles"
        wanted = Attributes("bind", GROUP, plural, "", target.namespace, str(reference.get("name")))
        if self.authorizer.decide(self.user, wanted).allowed:
            return
        try:
            rules = self.authorizer.role_rules(reference, target.namespace)
        except RoleNotFoundError as error:
            raise not_found(Subject(GROUP, plural, error.kind, error.name)) from error
        self._check_held(target, rules)

    def _check_held(self, target: Target, policies: Iterable[JsonObject]) -> None:
        lacking = self._lacking(target.namespace, [Rule.from_policy(policy) for policy in policies])
        if lacking:
            groups = " ".join(f'"{group}"' for group in self.user.groups)
            listed = "\n".join(sorted(str(rule) for rule in lacking))
            raise refused(
                target.resource.subject(target.name),
                f'user "{self.user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently '
                f"held:\n{listed}",
            )

    def _lacking(self, namespace: str, wanted: Iterable[Rule]) -> list[Rule]:
        held = [grant.rule for grant in self.authorizer.grants(self.user, namespace)]
        return missing(held, wanted)


def _attributes(verb: str, target: Target) -> Attributes:
    resource = target.resource
    return Attributes(verb, resource.group, resource.plural, target.subresource, target.namespace, target.name)


def _harmless(new: JsonObject, old: JsonObject) -> bool:
    def without(document: JsonObject) -> JsonObject:
        meta = {field: value for field, value in metadata(document).items() if field not in _HARMLESS}
        return {**document, "metadata": meta}

    return without(new) == without(old)
