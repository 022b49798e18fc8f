"""The heads of running jobs and their tokens, read from their Secrets once. Holds nothing that cannot be read again.

A token is forgotten when its cluster goes, when its head does not answer (perhaps it refuses the token), and when its
job is gone.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tidemill_operator.cache import Key, WatchCache
from tidemill_operator.cluster import SECRETS, Cluster
from tidemill_operator.errors import ObjectMissingError, RayUnavailableError, RejectedError
from tidemill_operator.manifests.names import cluster_name, secret_name
from tidemill_operator.manifests.ray_cluster import TOKEN_KEY
from tidemill_operator.ray_api import HeadAddress

if TYPE_CHECKING:
    from tidemill_operator.core.snapshot import JobView


class Heads:
    """Makes a `HeadAddress` of an IP: with the token that this head asks for."""

    def __init__(self, cluster: Cluster, cache: WatchCache) -> None:
        self._cluster = cluster
        self._cache = cache
        self._tokens: dict[Key, tuple[str, str]] = {}  # the job's uid and the token of its cluster

    async def head(self, job: JobView, ip: str) -> HeadAddress:
        """The job's head at this address. Raises RayUnavailableError where its token cannot be read."""
        key = Key(job.namespace, job.name)
        uid, token = self._tokens.get(key, ("", ""))
        if uid != job.uid:
            token = await self._token(job)
            self._tokens = {known: held for known, held in self._tokens.items() if self._cache.job(known) is not None}
            self._tokens[key] = (job.uid, token)
        return HeadAddress(ip, token)

    def forget(self, job: JobView) -> None:
        """The token is read anew when it is needed again."""
        self._tokens.pop(Key(job.namespace, job.name), None)

    async def _token(self, job: JobView) -> str:
        name = secret_name(cluster_name(job.name, job.uid))
        try:
            secret = await self._cluster.get(SECRETS, job.namespace, name)
            return base64.b64decode(secret["data"][TOKEN_KEY], validate=True).decode()
        except (ObjectMissingError, KeyError, ValueError) as error:
            raise RayUnavailableError(f"the token in Secret {job.namespace}/{name} cannot be read") from error
        except RejectedError as error:
            message = f"the operator may not read the token in Secret {job.namespace}/{name}: {error}"
            raise RayUnavailableError(message) from error
