"""Who sends a request: by its bearer token, by the address it came to, and by whom it wants to act as.

After k8s.io/apiserver/pkg/endpoints/filters (authentication.go, impersonation.go).
"""

from dataclasses import replace
from urllib.parse import unquote

from multidict import CIMultiDictProxy

from devcluster.apiserver.access.attributes import Attributes
from devcluster.apiserver.access.tokens import InvalidTokenError, Tokens
from devcluster.apiserver.access.users import (
    ADMINISTRATOR,
    ANONYMOUS,
    AUTHENTICATED,
    UNAUTHENTICATED,
    User,
    account_groups,
    account_of,
)
from devcluster.apiserver.errors import StatusError, bad_request

_USER, _GROUP, _UID, _EXTRA = "Impersonate-User", "Impersonate-Group", "Impersonate-Uid", "impersonate-extra-"
_AUTHENTICATION = "authentication.k8s.io"

Headers = CIMultiDictProxy[str]


def unauthorized() -> StatusError:
    """Return the 401, which never says why: only this server's log may know."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def authenticate(tokens: Tokens, headers: Headers, *, secure: bool) -> User:
    """Return the user who sends a request over TLS (`secure`) or plain loopback. Raises `StatusError` 401."""
    scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        try:
            return tokens.user(token.strip())[0]
        except InvalidTokenError as error:
            raise unauthorized() from error
    return ANONYMOUS if secure else ADMINISTRATOR


def impersonated(headers: Headers) -> tuple[User, list[Attributes]] | None:
    """Return whom a request wants to act as, and what its sender must be allowed for that; None for nobody.

    Raises `StatusError` 400 where groups or more are given without a user.
    """
    extra = _extra(headers)
    name, uid, groups = headers.get(_USER, ""), headers.get(_UID, ""), tuple(headers.getall(_GROUP, ()))
    if not name:
        if groups or uid or extra:
            raise bad_request("requested to impersonate groups, a uid or extra without impersonating a user")
        return None
    user = User(name, groups, uid, tuple(sorted(extra.items())))
    account = account_of(name)
    asked = [Attributes("impersonate", "", "users", name=name)]
    if account is not None:
        asked = [Attributes("impersonate", "", "serviceaccounts", "", *account)]
        user = replace(user, groups=groups or account_groups(account[0]))
    asked += [Attributes("impersonate", "", "groups", name=group) for group in groups]
    asked += [Attributes("impersonate", _AUTHENTICATION, "uids", name=uid)] if uid else []
    for key, values in extra.items():
        asked += [Attributes("impersonate", _AUTHENTICATION, "userextras", key, name=value) for value in values]
    if not {AUTHENTICATED, UNAUTHENTICATED} & set(user.groups):
        told = UNAUTHENTICATED if name == ANONYMOUS.name else AUTHENTICATED
        user = replace(user, groups=(*user.groups, told))
    return user, asked


def _extra(headers: Headers) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in headers.items():
        if header.lower().startswith(_EXTRA):
            key = unquote(header.lower().removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
    return extra
