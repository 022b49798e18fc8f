"""RayClusters with their token Secrets, for jobs and endpoints alike: made, scaled and removed on the API server.

Each may be done twice without harm. Decides nothing, and knows of an owner only what stands in the manifests.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill_operator.cache import RAY_CLUSTER_LABEL, Key, WatchCache, Watched
from tidemill_operator.cluster import PODS, RAY_CLUSTERS, SECRETS, Cluster, version_of
from tidemill_operator.errors import ConflictError, KindMissingError, ObjectMissingError, OperatorError, RejectedError
from tidemill_operator.manifests.names import secret_name
from tidemill_operator.manifests.ray_cluster import RAY_API, WORKER_GROUP
from tidemill_operator.refusals import Refusals
from tidemill_operator.views import worker_replicas

if TYPE_CHECKING:
    from tidemill_operator.core.plan import ScaleCluster
    from tidemill_operator.network_policies import NetworkPolicies

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


class ScaleRefusedError(OperatorError):
    """The API server does not let the operator scale the RayCluster; the workers stay as they are until it does.

    `again` where it was said before and the next try is not due yet.
    """

    def __init__(self, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


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

    def __init__(self, cluster: Cluster, cache: WatchCache, policies: NetworkPolicies | None = None) -> None:
        self._cluster = cluster
        self._cache = cache
        self._policies = policies
        self._refusals = Refusals()

    async def create(self, new: NewRayCluster) -> None:
        """Makes the NetworkPolicy, the Secret, then the RayCluster.

        Raises RayClusterRefusedError, or PassingError to be tried again.
        """
        try:
            if self._policies is not None:
                await self._policies.before(new.cluster)
            await self._create_or_find(SECRETS, new.token, new.owner)
            created = await self._create_or_find(RAY_CLUSTERS, new.cluster, new.owner)
        except ObjectMissingError as error:
            name = new.cluster["metadata"]["name"]
            raise ConflictError(f"what stood in the way of RayCluster {name} is gone") from error
        except RejectedError as error:
            message = f"The API server refused the RayCluster, its NetworkPolicy or its Secret: {error}"
            raise RayClusterRefusedError(message) from error
        except KindMissingError as error:
            raise RayClusterRefusedError(KUBERAY_MISSING, no_kuberay=True) from error
        self._cache.put(Watched.CLUSTERS, created)

    async def create_with_token(self, new: NewRayCluster) -> None:
        """As `create`; the Secret then is the RayCluster's, and goes with it.

        No sooner: what KubeRay does between the deletion of a cluster and its end (clearing Redis) needs the token.
        """
        await self._clear_token_before(new)
        await self.create(new)
        metadata = new.cluster["metadata"]
        created = self._cache.cluster(metadata["namespace"], metadata["name"])
        if created is not None:
            token = await self._token(metadata["namespace"], metadata["name"])
            if token is not None:
                await self._hand_over(token, Key(metadata["namespace"], metadata["name"]), created["metadata"]["uid"])

    async def _clear_token_before(self, new: NewRayCluster) -> None:
        """Raises ConflictError where the token of a cluster of the same name that is gone still stands: it is going."""
        namespace, cluster = new.cluster["metadata"]["namespace"], new.cluster["metadata"]["name"]
        token = new.token["metadata"]["name"]
        try:
            standing = await self._cluster.get(SECRETS, namespace, token)
        except ObjectMissingError:
            return
        owners = standing["metadata"].get("ownerReferences") or ()
        if ("RayCluster", cluster) not in {(owner.get("kind"), owner.get("name")) for owner in owners}:
            return
        try:
            stands = await self._cluster.get(RAY_CLUSTERS, namespace, cluster)
        except (ObjectMissingError, KindMissingError):
            await self._cluster.delete(SECRETS, namespace, token, standing["metadata"]["uid"])
            raise ConflictError(f"the token of the RayCluster {cluster} before was still there") from None
        self._cache.put(Watched.CLUSTERS, stands)
        raise ConflictError(f"RayCluster {cluster} stands, which was not known yet")

    async def _token(self, namespace: str, name: str) -> Json | None:
        """The Secret of this RayCluster as it stands; None where there is none, or it may not be looked at."""
        try:
            return await self._cluster.get(SECRETS, namespace, secret_name(name))
        except ObjectMissingError:
            log.info("RayCluster %s has no token", name)
        except RejectedError as error:
            log.warning("the token of RayCluster %s may not be looked at: %s", name, error)
        return None

    async def _hand_over(self, token: Json, cluster: Key, uid: str) -> bool:
        """Makes the RayCluster the only owner of this very token; False where the right to do so is missing."""
        owner = {"apiVersion": RAY_API, "kind": "RayCluster", "name": cluster.name, "uid": uid}
        change = {"metadata": {**version_of(token), "ownerReferences": [owner]}}
        try:
            await self._cluster.merge(SECRETS, cluster.namespace, secret_name(cluster.name), change)
        except ObjectMissingError:
            log.info("RayCluster %s has no token to be handed over", cluster)
        except RejectedError as error:
            log.warning("the token of RayCluster %s stays its owner's: %s", cluster, error)
            return False
        return True

    async def delete(self, namespace: str, name: str, uid: str, *, owns_token: bool = False) -> None:
        """Removes the RayCluster of this uid and its Secret, which goes after it where the cluster is to own it.

        Raises PassingError to be tried again.
        """
        token = await self._token(namespace, name)  # before: that of a cluster which comes after is another one
        try:
            await self._cluster.delete(RAY_CLUSTERS, namespace, name, uid)
        except ConflictError:  # another object of that name: ours is gone, and the Secret is that one's
            log.info("RayCluster %s is gone already", name)
        else:
            # handed over only now where the operator was killed before it could
            if token is not None and not (owns_token and await self._hand_over(token, Key(namespace, name), uid)):
                await self._cluster.delete(SECRETS, namespace, secret_name(name), token["metadata"].get("uid", ""))
        self._cache.drop(Watched.CLUSTERS, Key(namespace, name))

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
        return await self._labelled(resource, standing, metadata["labels"])

    async def _labelled(self, resource: Any, standing: Json, ours: dict[str, str]) -> Json:
        """Our child with its labels, without which no watch shows it: somebody may have taken them off.

        Raises ConflictError where a RayCluster got them back: it may be at work, which the next look finds.
        """
        metadata = standing["metadata"]
        if ours.items() <= (metadata.get("labels") or {}).items():
            return standing
        log.warning("labels of ours were taken off %s %s: put back", standing.get("kind", ""), metadata["name"])
        change = {"metadata": {**version_of(standing), "labels": ours}}
        labelled = await self._cluster.merge(resource, metadata["namespace"], metadata["name"], change)
        if resource == RAY_CLUSTERS:
            self._cache.put(Watched.CLUSTERS, labelled)
            raise ConflictError(f"RayCluster {metadata['name']} had lost its labels")
        return labelled

    async def scale(self, namespace: str, scale: ScaleCluster) -> None:
        """Sets the size.

        Raises ScaleRefusedError where the API server does not let us, which is asked again with back-off; PassingError
        to be tried again.
        """
        key = Key(namespace, scale.name)
        if self._refusals.waiting(key):
            raise ScaleRefusedError(self._refusals.message(key), again=True)
        try:
            await self._check_pods(namespace, scale)
            patched = await self._cluster.patch(RAY_CLUSTERS, namespace, scale.name, scale_patch(scale))
        except RejectedError as error:
            message = f"The API server refuses to scale RayCluster {scale.name}: {error}"
            self._refusals.refused(key, message)
            raise ScaleRefusedError(message) from error
        except (ObjectMissingError, KindMissingError) as error:
            self._cache.drop(Watched.CLUSTERS, Key(namespace, scale.name))
            raise ConflictError(f"RayCluster {scale.name} is gone") from error
        self._refusals.forget(key)
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


async def look_again(cluster: Cluster, cache: WatchCache, key: Key) -> None:
    """Nobody answers on a RayCluster: perhaps it is gone and its watch event was missed. Raises ConflictError then."""
    try:
        body = await cluster.get(RAY_CLUSTERS, key.namespace, key.name)
    except (ObjectMissingError, KindMissingError):
        cache.drop(Watched.CLUSTERS, key)
        raise ConflictError(f"RayCluster {key} is gone") from None
    cache.put(Watched.CLUSTERS, body)


def is_owned(standing: Json, uid: str) -> bool:
    """Whether the object is a child of the owner with this uid."""
    return uid in {owner.get("uid") for owner in standing["metadata"].get("ownerReferences") or ()}


def scale_patch(scale: ScaleCluster) -> list[Json]:
    """One JSON patch for all of it: fewer replicas without names would let KubeRay pick pods by itself.

    The worker groups are an atomic list, so a merge patch would replace them; the tests guard the position, the
    size and the generation that the decision was made at: pods that a late patch names may be at work again.
    Where one fails the API server answers as to a conflict.
    """
    group = "/spec/workerGroupSpecs/0"
    seen = [{"op": "test", "path": "/metadata/generation", "value": scale.generation}]
    standing = [{"op": "test", "path": f"{group}/replicas", "value": scale.decided_at}]
    return [
        *(seen if scale.generation is not None else ()),
        {"op": "test", "path": f"{group}/groupName", "value": WORKER_GROUP},
        *(standing if scale.decided_at is not None else ()),
        {"op": "add", "path": f"{group}/maxReplicas", "value": scale.max_replicas},
        {"op": "add", "path": f"{group}/replicas", "value": scale.replicas},
        {"op": "add", "path": f"{group}/scaleStrategy", "value": {"workersToDelete": list(scale.workers_to_delete)}},
    ]
