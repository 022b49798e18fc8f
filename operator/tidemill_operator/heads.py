"""The heads of running jobs and their tokens, read from their Secrets once. Holds nothing that cannot be read again."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from tidemill_operator.cluster import SECRETS, Cluster
from tidemill_operator.errors import ObjectMissingError, RayUnavailableError
from tidemill_operator.manifests.names import cluster_name, secret_name
from tidemill_operator.manifests.ray_cluster import TOKEN_KEY
from tidemill_operator.ray_api import Head

if TYPE_CHECKING:
    from tidemill_operator.core.snapshot import JobView


class Heads:
    """Makes a `Head` of an address; tests may give other ports."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._tokens: dict[str, str] = {}

    async def head(self, job: JobView, ip: str) -> Head:
        """The job's head at this address. Raises RayUnavailableError where its token cannot be read."""
        token = self._tokens.get(job.uid)
        if token is None:
            token = self._tokens[job.uid] = await self._token(job)
        return Head(ip, token)

    def forget(self, job: JobView) -> None:
        """The job's cluster goes, its token with it."""
        self._tokens.pop(job.uid, None)

    async def _token(self, job: JobView) -> str:
        name = secret_name(cluster_name(job.name, job.uid))
        try:
            secret = await self._cluster.get(SECRETS, job.namespace, name)
            return base64.b64decode(secret["data"][TOKEN_KEY], validate=True).decode()
        except (ObjectMissingError, KeyError, ValueError) as error:
            raise RayUnavailableError(f"the token in Secret {job.namespace}/{name} cannot be read") from error
