"""RayClusters with their token Secrets, for jobs and endpoints alike: made, scaled and removed on the API server.

Each may be done twice without harm. Decides nothing, and knows of an owner only what stands in the manifests.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill_operator.cache import RAY_CLUSTER_LABEL, Key, WatchCache, Watched
from tidemill_operator.cluster import PODS, RAY_CLUSTERS, SECRETS, Cluster
from tidemill_operator.errors import ConflictError, KindMissingError, ObjectMissingError, OperatorError, RejectedError
from tidemill_operator.manifests.names import secret_name
from tidemill_operator.manifests.ray_cluster import WORKER_GROUP
from tidemill_operator.views import worker_replicas

if TYPE_CHECKING:
    from tidemill_operator.core.plan import ScaleCluster

    Json = dict[str, Any]

log = logging.getLogger(__name__)

TOKEN_BYTES = 32

KUBERAY_MISSING = (
    "KubeRay is not installed: the API server does not know RayCluster of ray.io/v1. Install KubeRay 1.6 or newer."
)


class RayClusterRefusedError(OperatorError):
    """It could not be made for a reason that its owner's status should say; without KubeRay, `no_kuberay`."""

    def __init__(self, message: str, *, no_kuberay: bool = False) -> None:
        super().__init__(message)
        self.no_kuberay = no_kuberay


@dataclass(frozen=True)
class NewRayCluster:
    """What is to be made. `owner` is what the owner is called in a message: job or endpoint."""

    owner: str
    cluster: Json
    token: Json


def new_token() -> str:
    """A secret for the REST API of one RayCluster."""
    return secrets.token_urlsafe(TOKEN_BYTES)


class RayClusters:
    """Writes with the client it was given, and tells the cache what came of it."""

    def __init__(self, cluster: Cluster, cache: WatchCache) -> None:
        self._cluster = cluster
        self._cache = cache

    async def create(self, new: NewRayCluster) -> None:
        """Makes the Secret, then the RayCluster. Raises RayClusterRefusedError, or PassingError to be tried again."""
        try:
            await self._create_or_find(SECRETS, new.token, new.owner)
            created = await self._create_or_find(RAY_CLUSTERS, new.cluster, new.owner)
        except ObjectMissingError as error:
            name = new.cluster["metadata"]["name"]
            raise ConflictError(f"what stood in the way of RayCluster {name} is gone") from error
        except RejectedError as error:
            message = f"The API server refused the RayCluster or its Secret: {error}"
            raise RayClusterRefusedError(message) from error
        except KindMissingError as error:
            raise RayClusterRefusedError(KUBERAY_MISSING, no_kuberay=True) from error
        self._cache.put(Watched.CLUSTERS, created)

    async def _create_or_find(self, resource: Any, manifest: Json, owner: str) -> Json:
        """The new object, or ours that stands already, which a lost answer or a stale cache explains."""
        metadata = manifest["metadata"]
        try:
            return await self._cluster.create(resource, manifest)
        except ConflictError:
            standing = await self._cluster.get(resource, metadata["namespace"], metadata["name"])
        if not is_owned(standing, metadata["ownerReferences"][0]["uid"]):
            message = (
                f"A {manifest['kind']} named {metadata['name']} stands in the namespace and is not this {owner}'s."
            )
            raise RayClusterRefusedError(f"{message} Delete or rename it.")
        return standing

    async def delete(self, namespace: str, name: str, uid: str) -> None:
        """Removes the RayCluster of this uid and its Secret. Raises PassingError to be tried again."""
        try:
            await self._cluster.delete(RAY_CLUSTERS, namespace, name, uid)
        except ConflictError:  # another object of that name: ours is gone, and the Secret is that one's
            log.info("RayCluster %s is gone already", name)
        else:
            await self._cluster.delete(SECRETS, namespace, secret_name(name))
        self._cache.drop(Watched.CLUSTERS, Key(namespace, name))

    async def scale(self, namespace: str, scale: ScaleCluster) -> None:
        """Sets the size. Raises RejectedError where the API server does not let us, PassingError to be tried again."""
        try:
            await self._check_pods(namespace, scale)
            patched = await self._cluster.patch(RAY_CLUSTERS, namespace, scale.name, scale_patch(scale))
        except (ObjectMissingError, KindMissingError) as error:
            self._cache.drop(Watched.CLUSTERS, Key(namespace, scale.name))
            raise ConflictError(f"RayCluster {scale.name} is gone") from error
        self._cache.put(Watched.CLUSTERS, patched)

    async def _check_pods(self, namespace: str, scale: ScaleCluster) -> None:
        """Raises ConflictError where a pod stands that the plan did not see: KubeRay might pick another in its place.

        Only a group that gets smaller, and is to keep some of its pods, is worth the question.
        """
        standing = self._cache.cluster(namespace, scale.name)
        if standing is None or not 0 < scale.replicas < worker_replicas(standing):
            return
        known = {pod["metadata"]["name"] for pod in self._cache.pods(namespace, scale.name)}
        found = self._cluster.list_all(PODS, namespace, f"{RAY_CLUSTER_LABEL}={scale.name}")
        unseen = [pod async for pod in found if pod["metadata"]["name"] not in known]
        for pod in unseen:
            self._cache.put(Watched.PODS, pod)
        if unseen:
            raise ConflictError(f"RayCluster {scale.name} has {len(unseen)} pods that were not known yet")


def is_owned(standing: Json, uid: str) -> bool:
    """Whether the object is a child of the owner with this uid."""
    return uid in {owner.get("uid") for owner in standing["metadata"].get("ownerReferences") or ()}


def scale_patch(scale: ScaleCluster) -> list[Json]:
    """One JSON patch for all of it: fewer replicas without names would let KubeRay pick pods by itself.

    The worker groups are an atomic list, so a merge patch would replace them; the tests guard the position, and the
    size that the decision was made at. Where one fails the API server answers as to a conflict.
    """
    group = "/spec/workerGroupSpecs/0"
    standing = [{"op": "test", "path": f"{group}/replicas", "value": scale.decided_at}]
    return [
        {"op": "test", "path": f"{group}/groupName", "value": WORKER_GROUP},
        *(standing if scale.decided_at is not None else ()),
        {"op": "add", "path": f"{group}/maxReplicas", "value": scale.max_replicas},
        {"op": "add", "path": f"{group}/replicas", "value": scale.replicas},
        {"op": "add", "path": f"{group}/scaleStrategy", "value": {"workersToDelete": list(scale.workers_to_delete)}},
    ]
