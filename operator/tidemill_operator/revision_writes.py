"""Carries out the actions of an endpoint's plan, one after another. Each may be done twice without harm. No decisions.

What Ray does not take is reported and does not hold up the rest: the next look sees the difference again.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tidemill_api import labels
from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_api.endpoint_contract import EndpointConfig
from tidemill_operator.background import Background
from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.cluster import SERVICES, Cluster, version_of
from tidemill_operator.config import OPERATOR_VERSION, Settings
from tidemill_operator.core.endpoint import plan
from tidemill_operator.core.endpoint.snapshot import EndpointRejection
from tidemill_operator.core.plan import DeleteCluster, ScaleCluster
from tidemill_operator.errors import ConflictError, OperatorError, RayRefusedError, RejectedError
from tidemill_operator.manifests.endpoint_cluster import (
    RevisionOrder,
    revision_cluster,
    revision_token,
    service,
    service_selector,
)
from tidemill_operator.manifests.revisions import revision_cluster_name, revisions_of
from tidemill_operator.manifests.serve_config import endpoint_config, serve_config
from tidemill_operator.network_policies import NetworkPolicies
from tidemill_operator.ray_clusters import NewRayCluster, RayClusterRefusedError, RayClusters, is_owned, new_token
from tidemill_operator.refusals import Refusals
from tidemill_operator.serve_reading import arguments_of

if TYPE_CHECKING:
    from tidemill_operator.core.endpoint.snapshot import EndpointView
    from tidemill_operator.heads import Heads
    from tidemill_operator.serve_api import ServeApi

log = logging.getLogger(__name__)

PUT_PATIENCE_SECONDS = 2.0
"""How long a PUT to Serve is waited for: longer than all but those that start Serve."""


class RevisionRefusedError(OperatorError):
    """The RayCluster could not be created for a reason that the endpoint's status should say."""

    def __init__(self, rejection: EndpointRejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


class ServiceRefusedError(OperatorError):
    """The API server does not let the operator make the Service, or lead it to another revision."""


class RevisionWriter:
    """Carries out actions with the clients it was given."""

    def __init__(self, cluster: Cluster, serve: ServeApi, cache: WatchCache, heads: Heads, settings: Settings) -> None:
        self._cluster = cluster
        self._clusters = RayClusters(cluster, cache, NetworkPolicies(cluster, cache, settings))
        self._serve = serve
        self._cache = cache
        self._heads = heads
        self._settings = settings
        self._puts = Background(PUT_PATIENCE_SECONDS)
        self._refusals = Refusals()

    async def execute(self, action: plan.EndpointAction, endpoint: EndpointView) -> None:
        """Does it. Raises PassingError to be tried again, an error of this module where people should know why."""
        log.info("%s", action, extra={"key": f"{endpoint.namespace}/{endpoint.name}"})
        match action:
            case plan.CreateRevision(revision, workers):
                await self._create(self.order(endpoint, revision), workers)
            case DeleteCluster(name, uid):
                await self._clusters.delete(endpoint.namespace, name, uid, owns_token=True)
            case ScaleCluster():
                await self._clusters.scale(endpoint.namespace, action)
            case plan.Deploy():
                await self._deploy(endpoint, action)
            case plan.ScaleServe(revision, ip, deployment, replicas):
                head = await self._heads.head(self._cluster_of(endpoint, revision), ip)
                await self._serve.scale(head, deployment, replicas)
            case plan.PointService(revision):
                await self._lead(self.order(endpoint, revision))

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
            queueing=endpoint.queueing,
            priority_class=settings.realtime_priority_class,
            made_by=OPERATOR_VERSION,
        )

    def _cluster_of(self, endpoint: EndpointView, revision: str) -> Key:
        return Key(endpoint.namespace, revision_cluster_name(endpoint.name, endpoint.uid, revision))

    async def _create(self, order: RevisionOrder, workers: int) -> None:
        new = NewRayCluster("endpoint", revision_cluster(order, workers), revision_token(order, new_token()))
        try:
            await self._clusters.create_with_token(new)
        except RayClusterRefusedError as error:
            reason = EndpointReason.KUBERAY_MISSING if error.no_kuberay else EndpointReason.CLUSTER_REJECTED
            raise RevisionRefusedError(EndpointRejection(reason, str(error))) from error
        except RejectedError as error:
            message = f"The API server refuses to say whether the token's Secret stands: {error}"
            raise RevisionRefusedError(EndpointRejection(EndpointReason.CLUSTER_REJECTED, message)) from error

    async def _deploy(self, endpoint: EndpointView, deploy: plan.Deploy) -> None:
        """Every PUT to a cluster carries the same arguments: what it was made for, whatever the spec says by now."""
        cluster = self._cluster_of(endpoint, deploy.revision)
        head = await self._heads.head(cluster, deploy.head_ip)

        async def put() -> None:
            standing = arguments_of(await self._serve.details(head))
            await self._serve.deploy(head, serve_config(standing or self._arguments(endpoint, deploy.revision), deploy))

        await self._puts.run((cluster, deploy.head_ip), put)

    def _arguments(self, endpoint: EndpointView, revision: str) -> dict[str, Any]:
        """As the RayCluster has them; where somebody took them off, those of the spec if that is still of the revision.

        Raises RayRefusedError where nobody knows them any more.
        """
        cluster = self._cluster_of(endpoint, revision)
        body = self._cache.cluster(cluster.namespace, cluster.name) or {"metadata": {}}
        told = (body["metadata"].get("annotations") or {}).get(labels.SERVE_ARGUMENTS, "")
        try:
            EndpointConfig.model_validate_json(told)
        except ValidationError:
            if endpoint.spec is not None and revision in revisions_of(endpoint.spec, endpoint.restarted):
                return endpoint_config(self.order(endpoint, revision)).model_dump(mode="json")
        else:  # word for word: what an operator since then would add, the application of that image may not know
            arguments: dict[str, Any] = json.loads(told)
            return arguments
        annotation = f"the annotation {labels.SERVE_ARGUMENTS} of RayCluster {cluster.name}"
        message = f"{annotation}, which no spec is known of, is unreadable"
        raise RayRefusedError(message)

    async def _lead(self, order: RevisionOrder) -> None:
        key = Key(order.namespace, order.owner)
        if self._refusals.waiting(key):
            raise ServiceRefusedError(self._refusals.message(key))
        try:
            await self._point(order)
        except RejectedError as error:
            message = f"The API server refuses the Service {order.owner}: {error}"
            self._refusals.refused(key, message)
            raise ServiceRefusedError(message) from error
        self._refusals.forget(key)

    async def _point(self, order: RevisionOrder) -> None:
        """Creates the Service or leads ours to this revision; one of somebody else is left alone."""
        manifest = service(order)
        try:
            written = await self._cluster.create(SERVICES, manifest)
        except ConflictError:
            standing = await self._cluster.get(SERVICES, order.namespace, order.owner)
            if not is_owned(standing, order.owner_uid):  # not kept: nobody would tell us that it went
                raise ConflictError(f"Service {order.owner} is not this endpoint's") from None
            selector = {"spec": {"selector": service_selector(order.owner, order.revision)}}
            change = {"metadata": {**version_of(standing), "labels": order.labels()}} | selector
            written = await self._cluster.merge(SERVICES, order.namespace, order.owner, change)
        self._cache.put(Watched.SERVICES, written)
