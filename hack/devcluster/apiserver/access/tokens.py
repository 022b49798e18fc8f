"""ServiceAccount tokens: made for a TokenRequest, and understood when a request brings one.

After k8s.io/kubernetes/pkg/serviceaccount/claims.go: a JWT names the account, and the Pod, Secret or Node it is bound
to, by name and uid; it is worth nothing once one of these is gone or its time is over.
"""

import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from devcluster.apiserver.access.certificates import read_private_key, write_private_key
from devcluster.apiserver.access.users import AUTHENTICATED, User, account_groups, account_user_name
from devcluster.apiserver.objects import JsonObject, metadata, parse_time
from devcluster.apiserver.store import Key, Store

ISSUER = "https://kubernetes.default.svc.cluster.local"
"""Who tokens are issued by; it is also the audience that means this server."""

_ALGORITHM = "ES256"
_STORAGES = {"pod": "/pods", "secret": "/secrets", "node": "/nodes"}
_CLUSTER_WIDE = ("node",)
# An object counts as gone so many seconds after the end of its grace period.
_LEEWAY_SECONDS = 60
_MOST_KNOWN = 4096

Reference = tuple[str, str]


class InvalidTokenError(Exception):
    """The token is none of ours, has expired, or what it is bound to is gone; the message says which."""


@dataclass(frozen=True)
class TokenSpec:
    """What a token is to be: its audiences, seconds of life, and what it is bound to, as {pod: (name, uid)}."""

    audiences: tuple[str, ...] = (ISSUER,)
    seconds: int = 3600
    bound: Mapping[str, Reference] = field(default_factory=dict)


class Tokens:
    """Issues and reads tokens with the key in `key_file`, which is made where there is none."""

    def __init__(self, store: Store, key_file: Path, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        if not key_file.exists():
            write_private_key(key_file, ec.generate_private_key(ec.SECP256R1()))
        self._key = read_private_key(key_file)
        # Tokens whose signature has been checked: what they say and whose they are. To check costs more than the rest
        # of a request.
        self._known: dict[str, tuple[JsonObject, User]] = {}

    def issue(self, account: JsonObject, spec: TokenSpec) -> tuple[str, int]:
        """Return a token for a ServiceAccount and when it expires, in seconds since the epoch."""
        now = int(self._clock())
        meta = metadata(account)
        private: JsonObject = {
            "namespace": meta["namespace"],
            "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
        }
        private |= {kind: {"name": name, "uid": uid} for kind, (name, uid) in spec.bound.items()}
        claims = {
            "iss": ISSUER,
            "sub": account_user_name(meta["namespace"], meta["name"]),
            "aud": list(spec.audiences),
            "iat": now,
            "nbf": now,
            "exp": now + spec.seconds,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM), now + spec.seconds

    def user(self, token: str, audiences: Collection[str] = (ISSUER,)) -> tuple[User, list[str]]:
        """Return whose a token is, and which of the audiences asked for it is meant for.

        Raises `InvalidTokenError`, also where it is meant for none of them.
        """
        known = self._known.get(token)
        if known is None:
            claims = self._verified(token)
            known = claims, _user(claims, claims["kubernetes.io"])
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[token] = known
        claims, user = known
        meant = [audience for audience in claims["aud"] if audience in audiences]
        if not meant:
            raise InvalidTokenError(f"token audiences {claims['aud']} is invalid for the target audiences")
        self._check_time(claims)
        self._check_bound(claims["kubernetes.io"])
        return user, meant

    def _verified(self, token: str) -> JsonObject:
        """Check that we have signed a token and return what it says; time is another matter."""
        try:
            claims: JsonObject = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=[_ALGORITHM],
                issuer=ISSUER,
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                    "require": ["iss", "sub", "aud", "exp", "nbf"],
                },
            )
        except (jwt.InvalidTokenError, ValueError) as error:
            raise InvalidTokenError(f"invalid bearer token: {error}") from error
        return claims

    def _check_time(self, claims: JsonObject) -> None:
        now = self._clock()
        if now >= claims["exp"]:
            raise InvalidTokenError("service account token has expired")
        if now < claims["nbf"] - _LEEWAY_SECONDS:
            raise InvalidTokenError("service account token is not valid yet")

    def _check_bound(self, private: JsonObject) -> None:
        namespace, account = private["namespace"], private["serviceaccount"]
        if not self._stands(Key("/serviceaccounts", namespace, account["name"]), account["uid"]):
            raise InvalidTokenError(f"service account {namespace}/{account['name']} has been deleted")
        for kind, storage in _STORAGES.items():
            bound = private.get(kind)
            if bound is None or (kind == "node" and "pod" in private):  # a Pod's node is told, not checked
                continue
            place = "" if kind in _CLUSTER_WIDE else namespace
            if not self._stands(Key(storage, place, bound["name"]), bound["uid"]):
                raise InvalidTokenError(f"service account token has been invalidated: its {kind} is gone")

    def _stands(self, key: Key, uid: Any) -> bool:
        entry = self._store.get(key)
        if entry is None or metadata(entry.document)["uid"] != uid:
            return False
        deleted = metadata(entry.document).get("deletionTimestamp")
        ends = parse_time(deleted) if deleted else None
        return ends is None or self._clock() <= ends.timestamp() + _LEEWAY_SECONDS


def _user(claims: JsonObject, private: JsonObject) -> User:
    namespace, account = private["namespace"], private["serviceaccount"]
    extra = {"authentication.kubernetes.io/credential-id": (f"JTI={claims['jti']}",)}
    for kind in ("node", "pod"):
        if kind in private:
            extra[f"authentication.kubernetes.io/{kind}-name"] = (private[kind]["name"],)
            extra[f"authentication.kubernetes.io/{kind}-uid"] = (private[kind]["uid"],)
    return User(
        name=account_user_name(namespace, account["name"]),
        groups=(*account_groups(namespace), AUTHENTICATED),
        uid=account["uid"],
        extra=tuple(sorted(extra.items())),
    )
