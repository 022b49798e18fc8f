"""Carries out the actions of a plan, one after another. Each may be done twice without harm. Refuses to decide."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any, get_args

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Ending
from tidemill_operator.cache import RAY_CLUSTER_LABEL, Key, WatchCache, Watched
from tidemill_operator.cluster import JOBS, PODS, RAY_CLUSTERS, SECRETS, Cluster
from tidemill_operator.core import plan
from tidemill_operator.core.snapshot import Rejection
from tidemill_operator.errors import (
    ConflictError,
    KindMissingError,
    ObjectMissingError,
    OperatorError,
    RayRefusedError,
    RayUnavailableError,
    RejectedError,
)
from tidemill_operator.manifests.job_config import job_config
from tidemill_operator.manifests.names import secret_name, submission_id
from tidemill_operator.manifests.ray_cluster import WORKER_GROUP, ClusterOrder, ray_cluster, token_secret
from tidemill_operator.refusals import Refusals
from tidemill_operator.views import worker_replicas

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
    from tidemill_operator.config import Settings
    from tidemill_operator.core.snapshot import JobView
    from tidemill_operator.heads import Heads
    from tidemill_operator.ray_api import RayApi

log = logging.getLogger(__name__)

TOKEN_BYTES = 32
NAMESAKES: tuple[Ending | None, ...] = (None, *get_args(Ending))
"""What an attempt may have been submitted for when the operator was killed before its status said so."""

KUBERAY_MISSING = (
    "KubeRay is not installed: the API server does not know RayCluster of ray.io/v1. Install KubeRay 1.6 or newer."
)


class ClusterRefusedError(OperatorError):
    """The RayCluster could not be created for a reason that the job's status should say."""

    def __init__(self, rejection: Rejection) -> None:
        super().__init__(rejection.message)
        self.rejection = rejection


class DriverRefusedError(OperatorError):
    """Ray did not take the driver; the job's status should say why if that lasts, as it does where `final`."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class ScaleRefusedError(OperatorError):
    """The API server does not let the operator scale the RayCluster; the workers stay as they are until it does.

    Without a message where it was said before and the next try is not due yet.
    """


class Executor:
    """Carries out actions with the clients it was given."""

    def __init__(self, cluster: Cluster, ray: RayApi, cache: WatchCache, heads: Heads, settings: Settings) -> None:
        self._cluster = cluster
        self._ray = ray
        self._cache = cache
        self._heads = heads
        self._settings = settings
        self._refusals = Refusals()

    async def execute(self, action: plan.Action, job: JobView) -> None:
        """Does it. Raises PassingError to be tried again, an error of this module where people should know why."""
        log.info("%s", action, extra={"key": f"{job.namespace}/{job.name}"})
        match action:
            case plan.CreateCluster():
                await self._create_cluster(job)
            case plan.DeleteCluster(name, uid):
                await self._delete_cluster(job, name, uid)
            case plan.SubmitDriver():
                await self._submit(job, action)
            case plan.StopDriver():
                await self._stop(job, action)
            case plan.ScaleCluster():
                await self._scale(job, action)
            case plan.DeleteJob():
                await self._cluster.delete(JOBS, job.namespace, job.name, job.uid)

    def order(self, job: JobView) -> ClusterOrder:
        """What this job's RayCluster is made from."""
        settings = self._settings
        return ClusterOrder(
            namespace=job.namespace,
            owner=job.name,
            owner_uid=job.uid,
            spec=_spec(job),
            ray_version=settings.ray_version,
            image_cpu=settings.image_cpu,
            image_gpu=settings.image_gpu,
        )

    async def _create_cluster(self, job: JobView) -> None:
        order = self.order(job)
        self._heads.forget(job)
        try:
            await self._create_token(order)
            created = await self._create_or_find(order)
        except ObjectMissingError as error:
            raise ConflictError(f"what stood in the way of RayCluster {order.name} is gone") from error
        except RejectedError as error:
            message = f"The API server refused the RayCluster or its Secret: {error}"
            raise ClusterRefusedError(Rejection(Reason.CLUSTER_REJECTED, message)) from error
        except KindMissingError as error:
            raise ClusterRefusedError(Rejection(Reason.KUBERAY_MISSING, KUBERAY_MISSING)) from error
        self._cache.put(Watched.CLUSTERS, created)

    async def _create_token(self, order: ClusterOrder) -> None:
        try:
            await self._cluster.create(SECRETS, token_secret(order, secrets.token_urlsafe(TOKEN_BYTES)))
        except ConflictError:
            standing = await self._cluster.get(SECRETS, order.namespace, secret_name(order.name))
            _check_ours(standing, order, "Secret")

    async def _create_or_find(self, order: ClusterOrder) -> dict[str, Any]:
        """The new RayCluster, or ours that stands already, which a lost answer or a stale cache explains."""
        try:
            return await self._cluster.create(RAY_CLUSTERS, ray_cluster(order))
        except ConflictError:
            standing = await self._cluster.get(RAY_CLUSTERS, order.namespace, order.name)
        _check_ours(standing, order, "RayCluster")
        return standing

    async def _delete_cluster(self, job: JobView, name: str, uid: str) -> None:
        self._heads.forget(job)
        try:
            await self._cluster.delete(RAY_CLUSTERS, job.namespace, name, uid)
        except ConflictError:  # another object of that name: ours is gone, and the Secret is that one's
            log.info("RayCluster %s is gone already", name)
            self._cache.drop(Watched.CLUSTERS, Key(job.namespace, name))
            return
        await self._cluster.delete(SECRETS, job.namespace, secret_name(name))
        self._cache.drop(Watched.CLUSTERS, Key(job.namespace, name))

    async def _submit(self, job: JobView, submit: plan.SubmitDriver) -> None:
        config = job_config(job, submit, self._settings.allow_loopback_input)
        try:
            head = await self._heads.head(job, submit.head_ip)
            for namesake in NAMESAKES if submit.ending else ():
                if namesake != submit.ending:
                    await self._ray.stop(head, submission_id(job.uid, submit.attempt, namesake))
            await self._ray.submit(head, submission_id(job.uid, submit.attempt, submit.ending), config)
        except RayUnavailableError as error:
            self._heads.forget(job)
            raise DriverRefusedError(str(error)) from error
        except RayRefusedError as error:
            raise DriverRefusedError(str(error), final=True) from error

    async def _stop(self, job: JobView, stop: plan.StopDriver) -> None:
        """A head that does not take the stop holds nothing up: the next look tries again, and in the end it goes."""
        try:
            head = await self._heads.head(job, stop.head_ip)
            await self._ray.stop(head, submission_id(job.uid, stop.attempt, stop.ending))
        except RayUnavailableError as error:
            self._heads.forget(job)
            log.warning("the driver cannot be stopped yet: %s", error, extra={"key": f"{job.namespace}/{job.name}"})

    async def _scale(self, job: JobView, scale: plan.ScaleCluster) -> None:
        key = Key(job.namespace, job.name)
        if self._refusals.waiting(key):
            raise ScaleRefusedError
        try:
            await self._check_pods(job, scale)
            patched = await self._cluster.patch(RAY_CLUSTERS, job.namespace, scale.name, scale_patch(scale))
        except (ObjectMissingError, KindMissingError) as error:
            self._cache.drop(Watched.CLUSTERS, Key(job.namespace, scale.name))
            raise ConflictError(f"RayCluster {scale.name} is gone") from error
        except RejectedError as error:
            self._refusals.refused(key)
            message = f"The API server refuses to scale RayCluster {scale.name}: {error}"
            raise ScaleRefusedError(message) from error
        self._refusals.forget(key)
        self._cache.put(Watched.CLUSTERS, patched)

    async def _check_pods(self, job: JobView, scale: plan.ScaleCluster) -> None:
        """Raises ConflictError where a pod stands that the plan did not see: KubeRay might pick another in its place.

        Only a group that gets smaller, and is to keep some of its pods, is worth the question.
        """
        standing = self._cache.cluster(job.namespace, scale.name)
        if standing is None or not 0 < scale.replicas < worker_replicas(standing):
            return
        known = {pod["metadata"]["name"] for pod in self._cache.pods(job.namespace, scale.name)}
        found = self._cluster.list_all(PODS, job.namespace, f"{RAY_CLUSTER_LABEL}={scale.name}")
        unseen = [pod async for pod in found if pod["metadata"]["name"] not in known]
        for pod in unseen:
            self._cache.put(Watched.PODS, pod)
        if unseen:
            raise ConflictError(f"RayCluster {scale.name} has {len(unseen)} pods that were not known yet")


def scale_patch(scale: plan.ScaleCluster) -> list[dict[str, Any]]:
    """One JSON patch for all of it: fewer replicas without names would let KubeRay pick pods by itself.

    The worker groups are an atomic list, so a merge patch would replace them; the test guards the position.
    """
    group = "/spec/workerGroupSpecs/0"
    return [
        {"op": "test", "path": f"{group}/groupName", "value": WORKER_GROUP},
        {"op": "add", "path": f"{group}/maxReplicas", "value": scale.max_replicas},
        {"op": "add", "path": f"{group}/replicas", "value": scale.replicas},
        {"op": "add", "path": f"{group}/scaleStrategy", "value": {"workersToDelete": list(scale.workers_to_delete)}},
    ]


def _spec(job: JobView) -> BatchInferenceJobSpec:
    if job.spec is None:
        raise ValueError(f"an action for {job.namespace}/{job.name} needs a spec that can be read")
    return job.spec


def _check_ours(standing: dict[str, Any], order: ClusterOrder, kind: str) -> None:
    owners = {owner.get("uid") for owner in standing["metadata"].get("ownerReferences") or ()}
    if order.owner_uid not in owners:
        name = standing["metadata"]["name"]
        message = f"A {kind} named {name} stands in the namespace and is not this job's. Delete or rename it."
        raise ClusterRefusedError(Rejection(Reason.CLUSTER_REJECTED, message))
