"""Who a request comes from: names, groups, and what a ServiceAccount is called as a user. Pure.

After k8s.io/apiserver/pkg/authentication/user and .../serviceaccount.
"""

from dataclasses import dataclass

from devcluster.apiserver.objects import DNS_1123_LABEL, DNS_1123_SUBDOMAIN, JsonObject

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ACCOUNTS = "system:serviceaccounts"
_ACCOUNT_PREFIX = "system:serviceaccount:"


@dataclass(frozen=True)
class User:
    """A user; `extra` is what more is known, as sorted (key, values) pairs."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def is_master(self) -> bool:
        """Whether the user may do everything, whatever RBAC says."""
        return MASTERS in self.groups

    def info(self) -> JsonObject:
        """Return the UserInfo that reviews show."""
        shown: JsonObject = {"username": self.name}
        if self.uid:
            shown["uid"] = self.uid
        if self.groups:
            shown["groups"] = list(self.groups)
        if self.extra:
            shown["extra"] = {key: list(values) for key, values in self.extra}
        return shown


ADMINISTRATOR = User("devcluster", (MASTERS, AUTHENTICATED))
"""Whoever comes over plain loopback without credentials."""

ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))
"""Whoever comes over TLS without credentials."""


def account_user_name(namespace: str, name: str) -> str:
    """Return the user name of a ServiceAccount."""
    return f"{_ACCOUNT_PREFIX}{namespace}:{name}"


def account_of(user_name: str) -> tuple[str, str] | None:
    """Return (namespace, name) of the ServiceAccount with this user name; None where it is no such name."""
    if not user_name.startswith(_ACCOUNT_PREFIX):
        return None
    namespace, _, name = user_name.removeprefix(_ACCOUNT_PREFIX).partition(":")
    valid = DNS_1123_LABEL.match(namespace) and DNS_1123_SUBDOMAIN.match(name)
    return (namespace, name) if valid else None


def account_groups(namespace: str) -> tuple[str, ...]:
    """Return the groups of every ServiceAccount in a namespace."""
    return (ACCOUNTS, f"{ACCOUNTS}:{namespace}")
