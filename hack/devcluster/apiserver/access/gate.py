"""The door before every handler: who sends the request, whom does he act as, and may that one do this.

The application keeps an `Access` under `ACCESS`; a request that came through has its user under `USER`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from devcluster.apiserver.access.attributes import attributes_of, refusal
from devcluster.apiserver.access.audit import AuditLog, Judged
from devcluster.apiserver.access.authentication import authenticate, impersonated
from devcluster.apiserver.access.authorizer import Authorizer
from devcluster.apiserver.access.escalation import RightsGuard
from devcluster.apiserver.access.tokens import Tokens
from devcluster.apiserver.access.users import User
from devcluster.apiserver.requests import WriteOptions, parse_write_options
from devcluster.apiserver.store import Store

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Access:
    """Everything that decides who may do what."""

    tokens: Tokens
    authorizer: Authorizer
    audit: AuditLog

    @classmethod
    def over(cls, store: Store, data: Path) -> "Access":
        """Return the access to the objects of a store, with the files in folder `data`."""
        return cls(Tokens(store, data / "pki" / "service-account.key"), Authorizer(store), AuditLog(data))


ACCESS: web.AppKey[Access] = web.AppKey("access", Access)
USER: web.RequestKey[User] = web.RequestKey("user", User)
_JUDGED: web.RequestKey[Judged] = web.RequestKey("judged", Judged)


@web.middleware
async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request through. Raises `StatusError` 400, 401 or 403."""
    access = request.app[ACCESS]
    user = _acting(access, request)
    request[USER] = user
    if not user.is_master:
        attributes = attributes_of(request.method, request.path, request.query)
        decision = access.authorizer.decide(user, attributes)
        request[_JUDGED] = Judged(user, attributes, decision)
        if not decision.allowed:
            raise refusal(user.name, attributes, decision.reason)
    return await handler(request)


def _acting(access: Access, request: web.Request) -> User:
    """Return the user a request is judged as: its sender, or whom that one may act as."""
    sender = authenticate(access.tokens, request.headers, secure=request.secure)
    wanted = impersonated(request.headers)
    if wanted is None:
        return sender
    user, asked = wanted
    for attributes in asked:
        decision = access.authorizer.decide(sender, attributes)
        if not decision.allowed:
            request[_JUDGED] = Judged(sender, attributes, decision)
            raise refusal(sender.name, attributes, decision.reason)
    return user


async def record(request: web.Request, response: web.StreamResponse) -> None:
    """Write the audit line of a request whose answer begins; to be called for each."""
    judged = request.get(_JUDGED)
    if judged is not None:
        request.app[ACCESS].audit.write(judged, response.status)


def write_options(request: web.Request) -> WriteOptions:
    """Return how a request wants its write made, with the guard over what its user may grant. Raises `StatusError`."""
    user, access = request[USER], request.app[ACCESS]
    guard = None if user.is_master else RightsGuard(access.authorizer, user)
    return parse_write_options(request.query, request.headers.get("User-Agent", ""), guard)
