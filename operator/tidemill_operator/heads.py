"""The heads of RayClusters and their tokens, read from their Secrets once. Holds nothing that cannot be read again.

A token is forgotten when its cluster and its pods are gone, and when its head does not answer: perhaps it refuses the
token. A cluster's name holds the identity of its owner, so that a new job or endpoint of an old name has another one.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tidemill_operator.cache import Key
from tidemill_operator.cluster import SECRETS, Cluster
from tidemill_operator.errors import ObjectMissingError, RayUnavailableError, RejectedError
from tidemill_operator.manifests.names import cluster_name, secret_name
from tidemill_operator.manifests.ray_cluster import TOKEN_KEY
from tidemill_operator.ray_api import HeadAddress

if TYPE_CHECKING:
    from tidemill_operator.cache import WatchCache
    from tidemill_operator.core.snapshot import JobView


def cluster_of(job: JobView) -> Key:
    """The key of a job's RayCluster, whether it stands or not."""
    return Key(job.namespace, cluster_name(job.name, job.uid))


class Heads:
    """Makes a `HeadAddress` of a RayCluster's key and an IP: with the token that this head asks for."""

    def __init__(self, cluster: Cluster, cache: WatchCache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._tokens: dict[Key, str] = {}

    async def head(self, cluster: Key, ip: str) -> HeadAddress:
        """The head of this RayCluster at this address. Raises RayUnavailableError where its token cannot be read."""
        if cluster not in self._tokens:
            token = await self._read(cluster)
            self._tokens = {key: held for key, held in self._tokens.items() if self._stands(key)}
            self._tokens[cluster] = token
        return HeadAddress(ip, self._tokens[cluster])

    def known(self, cluster: Key, ip: str) -> HeadAddress | None:
        """The head of this RayCluster where its token was read before: with the cluster goes the Secret."""
        token = self._tokens.get(cluster)
        return HeadAddress(ip, token) if token is not None else None

    def forget(self, cluster: Key) -> None:
        """The token is read anew when it is needed again."""
        self._tokens.pop(cluster, None)

    def _stands(self, cluster: Key) -> bool:
        """Whether the cluster, or a pod of it, is there."""
        name = cluster.namespace, cluster.name
        return self._cache.cluster(*name) is not None or bool(self._cache.pods(*name))

    async def _read(self, cluster: Key) -> str:
        name = secret_name(cluster.name)
        try:
            secret = await self._cluster.get(SECRETS, cluster.namespace, name)
            return base64.b64decode(secret["data"][TOKEN_KEY], validate=True).decode()
        except (ObjectMissingError, KeyError, ValueError) as error:
            raise RayUnavailableError(f"the token in Secret {cluster.namespace}/{name} cannot be read") from error
        except RejectedError as error:
            message = f"the operator may not read the token in Secret {cluster.namespace}/{name}: {error}"
            raise RayUnavailableError(message) from error
