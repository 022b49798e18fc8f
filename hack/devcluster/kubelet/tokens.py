"""ServiceAccount tokens of one Pod, asked of the API server for it and asked again before they expire.

As kubelet's token manager: a token is bound to the Pod and is renewed after four fifths of its life, at the latest
after a day. Tokens are held in memory and in the volume's tmpfs, never on disk.
"""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from devcluster.kubelet.states import seconds_of

Object = Mapping[str, Any]
TokenKey = tuple[str, int]
"""Audience (empty: the API server's own) and life in seconds."""

DEFAULT_SECONDS = 3600
LONGEST_SECONDS = 24 * 3600.0
RENEW_AFTER = 0.8


def key_of(source: Object) -> TokenKey:
    """What token a `serviceAccountToken` source asks for."""
    return str(source.get("audience") or ""), int(source.get("expirationSeconds") or DEFAULT_SECONDS)


def wanted(volumes: list[Object]) -> Iterator[TokenKey]:
    """The tokens that a Pod's volumes show."""
    for volume in volumes:
        for source in (volume.get("projected") or {}).get("sources") or []:
            if "serviceAccountToken" in source:
                yield key_of(source["serviceAccountToken"])


def request(pod: Object, key: TokenKey) -> dict[str, Any]:
    """The body of the TokenRequest."""
    audience, seconds = key
    metadata = pod["metadata"]
    bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
    spec: dict[str, Any] = {"expirationSeconds": seconds, "boundObjectRef": bound}
    if audience:
        spec["audiences"] = [audience]
    return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}


@dataclass
class Tokens:
    """The tokens of one Pod. `ask(account, body)` makes a TokenRequest in its namespace."""

    ask: Callable[[dict[str, Any], dict[str, Any]], Awaitable[dict[str, Any]]]
    _held: dict[TokenKey, tuple[bytes, float]] = field(default_factory=dict)

    async def get(self, pod: dict[str, Any], volumes: list[Object]) -> dict[TokenKey, bytes]:
        """The token for each source, fresh enough. Raises what `ask` raises."""
        now = time.time()
        for key in set(wanted(volumes)):
            if key not in self._held or self._held[key][1] <= now:
                status = (await self.ask(pod, request(pod, key)))["status"]
                self._held[key] = status["token"].encode(), renewal(now, seconds_of(status["expirationTimestamp"]))
        return {key: token for key, (token, _) in self._held.items()}

    def next_renewal(self) -> float | None:
        """When the first of them is due, in seconds since 1970; None without any."""
        return min((due for _, due in self._held.values()), default=None)


def renewal(issued: float, expires: float) -> float:
    """When a token is asked for anew."""
    return issued + min((expires - issued) * RENEW_AFTER, LONGEST_SECONDS)
