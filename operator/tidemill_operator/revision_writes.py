"""Carries out the actions of an endpoint's plan, one after another. Each may be done twice without harm. No decisions.

What Ray does not take is reported and does not hold up the rest: the next look sees the difference again.
"""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any

from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_operator.apply import KUBERAY_MISSING, TOKEN_BYTES, scale_patch
from tidemill_operator.cache import RAY_CLUSTER_LABEL, Key, WatchCache, Watched
from tidemill_operator.cluster import PODS, RAY_CLUSTERS, SECRETS, SERVICES, Cluster
from tidemill_operator.core.endpoint import plan
from tidemill_operator.core.endpoint.snapshot import EndpointRejection
from tidemill_operator.core.plan import DeleteCluster, ScaleCluster
from tidemill_operator.errors import ConflictError, KindMissingError, ObjectMissingError, OperatorError, RejectedError
from tidemill_operator.manifests.endpoint_cluster import (
    RevisionOrder,
    revision_cluster,
    revision_token,
    service,
    service_selector,
)
from tidemill_operator.manifests.names import secret_name
from tidemill_operator.manifests.revisions import revision_cluster_name
from tidemill_operator.manifests.serve_config import endpoint_config, serve_config
from tidemill_operator.serve_reading import arguments_of
from tidemill_operator.views import worker_replicas

if TYPE_CHECKING:
    from tidemill_operator.config import Settings
    from tidemill_operator.core.endpoint.snapshot import EndpointView
    from tidemill_operator.revision_heads import RevisionHeads
    from tidemill_operator.serve_api import ServeApi

    Json = dict[str, Any]

log = logging.getLogger(__name__)


class RevisionRefusedError(OperatorError):
    """The RayCluster could not be created for a reason that the endpoint's status should say."""

    def __init__(self, rejection: EndpointRejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


class RevisionWriter:
    """Carries out actions with the clients it was given."""

    def __init__(
        self, cluster: Cluster, serve: ServeApi, cache: WatchCache, heads: RevisionHeads, settings: Settings
    ) -> None:
        self._cluster = cluster
        self._serve = serve
        self._cache = cache
        self._heads = heads
        self._settings = settings

    async def execute(self, action: plan.EndpointAction, endpoint: EndpointView) -> None:
        """Does it. Raises PassingError to be tried again, an error of this module where people should know why."""
        log.info("%s", action, extra={"key": f"{endpoint.namespace}/{endpoint.name}"})
        match action:
            case plan.CreateRevision(revision, workers):
                await self._create(self.order(endpoint, revision), workers)
            case DeleteCluster(name, uid):
                await self._delete(endpoint, name, uid)
            case ScaleCluster():
                await self._scale(endpoint, action)
            case plan.Deploy():
                await self._deploy(endpoint, action)
            case plan.ScaleServe(revision, ip, deployment, replicas):
                head = await self._heads.head(endpoint, self._name(endpoint, revision), ip)
                await self._serve.scale(head, deployment, replicas)
            case plan.PointService(revision):
                await self._point(self.order(endpoint, revision))

    def order(self, endpoint: EndpointView, revision: str) -> RevisionOrder:
        """What the children of this revision are made from."""
        if endpoint.spec is None:
            raise ValueError(f"an action for {endpoint.namespace}/{endpoint.name} needs a spec that can be read")
        settings = self._settings
        return RevisionOrder(
            namespace=endpoint.namespace,
            owner=endpoint.name,
            owner_uid=endpoint.uid,
            revision=revision,
            spec=endpoint.spec,
            ray_version=settings.ray_version,
            image_cpu=settings.image_cpu,
            image_gpu=settings.image_gpu,
        )

    def _name(self, endpoint: EndpointView, revision: str) -> str:
        return revision_cluster_name(endpoint.name, endpoint.uid, revision)

    async def _create(self, order: RevisionOrder, workers: int) -> None:
        try:
            await self._create_or_find(SECRETS, revision_token(order, secrets.token_urlsafe(TOKEN_BYTES)), order)
            created = await self._create_or_find(RAY_CLUSTERS, revision_cluster(order, workers), order)
        except ObjectMissingError as error:
            raise ConflictError(f"what stood in the way of RayCluster {order.name} is gone") from error
        except RejectedError as error:
            message = f"The API server refused the RayCluster or its Secret: {error}"
            raise RevisionRefusedError(EndpointRejection(EndpointReason.CLUSTER_REJECTED, message)) from error
        except KindMissingError as error:
            raise RevisionRefusedError(EndpointRejection(EndpointReason.KUBERAY_MISSING, KUBERAY_MISSING)) from error
        self._cache.put(Watched.CLUSTERS, created)

    async def _create_or_find(self, resource: Any, manifest: Json, order: RevisionOrder) -> Json:
        """The new object, or ours that stands already, which a lost answer or a stale cache explains."""
        try:
            return await self._cluster.create(resource, manifest)
        except ConflictError:
            standing = await self._cluster.get(resource, order.namespace, manifest["metadata"]["name"])
        owners = {owner.get("uid") for owner in standing["metadata"].get("ownerReferences") or ()}
        if order.owner_uid not in owners:
            kind, name = manifest["kind"], manifest["metadata"]["name"]
            message = f"A {kind} named {name} stands in the namespace and is not this endpoint's. Delete or rename it."
            raise RevisionRefusedError(EndpointRejection(EndpointReason.CLUSTER_REJECTED, message))
        return standing

    async def _delete(self, endpoint: EndpointView, name: str, uid: str) -> None:
        try:
            await self._cluster.delete(RAY_CLUSTERS, endpoint.namespace, name, uid)
        except ConflictError:  # another object of that name: ours is gone, and the Secret is that one's
            log.info("RayCluster %s is gone already", name)
        else:
            await self._cluster.delete(SECRETS, endpoint.namespace, secret_name(name))
        self._cache.drop(Watched.CLUSTERS, Key(endpoint.namespace, name))

    async def _scale(self, endpoint: EndpointView, scale: ScaleCluster) -> None:
        try:
            await self._check_pods(endpoint, scale)
            patched = await self._cluster.patch(RAY_CLUSTERS, endpoint.namespace, scale.name, scale_patch(scale))
        except (ObjectMissingError, KindMissingError) as error:
            self._cache.drop(Watched.CLUSTERS, Key(endpoint.namespace, scale.name))
            raise ConflictError(f"RayCluster {scale.name} is gone") from error
        self._cache.put(Watched.CLUSTERS, patched)

    async def _check_pods(self, endpoint: EndpointView, scale: ScaleCluster) -> None:
        """Raises ConflictError where a pod stands that the plan did not see: KubeRay might pick another in its place.

        Only a group that gets smaller, and is to keep some of its pods, is worth the question.
        """
        standing = self._cache.cluster(endpoint.namespace, scale.name)
        if standing is None or not 0 < scale.replicas < worker_replicas(standing):
            return
        known = {pod["metadata"]["name"] for pod in self._cache.pods(endpoint.namespace, scale.name)}
        found = self._cluster.list_all(PODS, endpoint.namespace, f"{RAY_CLUSTER_LABEL}={scale.name}")
        unseen = [pod async for pod in found if pod["metadata"]["name"] not in known]
        for pod in unseen:
            self._cache.put(Watched.PODS, pod)
        if unseen:
            raise ConflictError(f"RayCluster {scale.name} has {len(unseen)} pods that were not known yet")

    async def _deploy(self, endpoint: EndpointView, deploy: plan.Deploy) -> None:
        """The first PUT carries what this operator says of the revision, every later one what the first one said."""
        head = await self._heads.head(endpoint, self._name(endpoint, deploy.revision), deploy.head_ip)
        standing = arguments_of(await self._serve.details(head))
        arguments = standing or endpoint_config(self.order(endpoint, deploy.revision)).model_dump(mode="json")
        await self._serve.deploy(head, serve_config(arguments, deploy))

    async def _point(self, order: RevisionOrder) -> None:
        """Creates the Service or leads ours to this revision; one of somebody else is left alone."""
        manifest = service(order)
        try:
            written = await self._cluster.create(SERVICES, manifest)
        except ConflictError:
            standing = await self._cluster.get(SERVICES, order.namespace, order.owner)
            self._cache.put(Watched.SERVICES, standing)
            owners = {owner.get("uid") for owner in standing["metadata"].get("ownerReferences") or ()}
            if order.owner_uid not in owners:
                raise ConflictError(f"Service {order.owner} is not this endpoint's") from None
            selector = {"spec": {"selector": service_selector(order.owner, order.revision)}}
            change = {"metadata": {"labels": order.labels()}} | selector
            written = await self._cluster.merge(SERVICES, order.namespace, order.owner, change)
        self._cache.put(Watched.SERVICES, written)
