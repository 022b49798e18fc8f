"""RBAC objects written by hand, in a store of their own."""

from devcluster.apiserver.access.authorizer import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    Authorizer,
)
from devcluster.apiserver.access.users import AUTHENTICATED, User
from devcluster.apiserver.store import Key, Store

GROUP = "rbac.authorization.k8s.io"


def rule(verbs, resources="", groups="", names="", paths=""):
    """A PolicyRule; each argument is words in one text, `core` stands for the group without a name."""
    found = {"verbs": verbs.split()}
    if resources:
        found |= {
            "resources": resources.split(),
            "apiGroups": [g.replace("core", "") for g in (groups or "core").split()],
        }
    if names:
        found["resourceNames"] = names.split()
    if paths:
        found["nonResourceURLs"] = paths.split()
    return found


class Rbac:
    """A store with an authorizer over it."""

    def __init__(self, folder):
        self.store = Store(folder / "objects.sqlite3")
        self.authorizer = Authorizer(self.store)

    def put(self, storage, namespace, name, **fields):
        key = Key(storage, namespace, name)
        meta = {"name": name, "uid": f"uid-{name}"} | ({"namespace": namespace} if namespace else {})
        write = self.store.create if self.store.get(key) is None else self.store.update
        write(key, {"metadata": meta, **fields})

    def role(self, namespace, name, *rules):
        self.put(ROLES, namespace, name, kind="Role", rules=list(rules))

    def cluster_role(self, name, *rules):
        self.put(CLUSTER_ROLES, "", name, kind="ClusterRole", rules=list(rules))

    def bind(self, namespace, name, role, *subjects):
        """Bind a role (`Role/x` or `ClusterRole/x`) to subjects (`User/x`, `Group/x`, `ServiceAccount/ns/x`)."""
        kind, _, role_name = role.partition("/")
        found = []
        for subject in subjects:
            subject_kind, *place, subject_name = subject.split("/")
            found.append({"kind": subject_kind, "name": subject_name} | ({"namespace": place[0]} if place else {}))
        reference = {"apiGroup": GROUP, "kind": kind, "name": role_name}
        storage = ROLE_BINDINGS if namespace else CLUSTER_ROLE_BINDINGS
        self.put(storage, namespace, name, roleRef=reference, subjects=found)

    def close(self):
        self.store.close()


def user(name, *groups):
    return User(name, (*groups, AUTHENTICATED))
