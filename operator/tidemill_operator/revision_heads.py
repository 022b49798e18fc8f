"""The heads of an endpoint's revisions and their tokens, read from their Secrets once; nothing is held for good.

A token is forgotten when its cluster and its pods are gone, and when its head does not answer: perhaps it refuses the
token.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tidemill_operator.cache import Key, WatchCache
from tidemill_operator.cluster import SECRETS, Cluster
from tidemill_operator.errors import ObjectMissingError, RayUnavailableError, RejectedError
from tidemill_operator.manifests.names import secret_name
from tidemill_operator.manifests.ray_cluster import TOKEN_KEY
from tidemill_operator.ray_api import HeadAddress

if TYPE_CHECKING:
    from tidemill_operator.core.endpoint.snapshot import EndpointView


class RevisionHeads:
    """Knows the address and token of each revision's head by its cluster's name; tests may give other ports."""

    def __init__(self, cluster: Cluster, cache: WatchCache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._tokens: dict[Key, str] = {}

    async def head(self, endpoint: EndpointView, name: str, ip: str) -> HeadAddress:
        """The head of the RayCluster of this name. Raises RayUnavailableError where its token cannot be read."""
        key = Key(endpoint.namespace, name)
        if key not in self._tokens:
            token = await self._token(key)
            self._tokens = {k: t for k, t in self._tokens.items() if self._stands(k)}
            self._tokens[key] = token
        return HeadAddress(ip, self._tokens[key])

    def known(self, cluster: Key, ip: str) -> HeadAddress | None:
        """The head of this RayCluster where its token was read before: with the cluster goes the Secret."""
        token = self._tokens.get(cluster)
        return HeadAddress(ip, token) if token is not None else None

    def _stands(self, cluster: Key) -> bool:
        """Whether the cluster, or a pod of it, is there."""
        name = cluster.namespace, cluster.name
        return self._cache.cluster(*name) is not None or bool(self._cache.pods(*name))

    def forget(self, endpoint: EndpointView, name: str) -> None:
        """The token is read anew when it is needed again."""
        self._tokens.pop(Key(endpoint.namespace, name), None)

    async def _token(self, key: Key) -> str:
        name = secret_name(key.name)
        try:
            secret = await self._cluster.get(SECRETS, key.namespace, name)
            return base64.b64decode(secret["data"][TOKEN_KEY], validate=True).decode()
        except (ObjectMissingError, KeyError, ValueError) as error:
            raise RayUnavailableError(f"the token in Secret {key.namespace}/{name} cannot be read") from error
        except RejectedError as error:
            message = f"the operator may not read the token in Secret {key.namespace}/{name}: {error}"
            raise RayUnavailableError(message) from error
