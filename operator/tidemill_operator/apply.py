"""Carries out the actions of a plan, one after another. Each may be done twice without harm. Refuses to decide."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, get_args

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Ending
from tidemill_operator.cluster import JOBS, Cluster
from tidemill_operator.config import OPERATOR_VERSION, Settings
from tidemill_operator.core import plan
from tidemill_operator.core.snapshot import Rejection
from tidemill_operator.errors import OperatorError, RayRefusedError, RayUnavailableError
from tidemill_operator.heads import cluster_of
from tidemill_operator.manifests.job_config import job_config
from tidemill_operator.manifests.names import submission_id
from tidemill_operator.manifests.ray_cluster import ClusterOrder, ray_cluster, token_secret
from tidemill_operator.network_policies import NetworkPolicies
from tidemill_operator.ray_clusters import NewRayCluster, RayClusterRefusedError, RayClusters, new_token

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
    from tidemill_operator.cache import WatchCache
    from tidemill_operator.core.snapshot import JobView
    from tidemill_operator.heads import Heads
    from tidemill_operator.ray_api import RayApi

log = logging.getLogger(__name__)

NAMESAKES: tuple[Ending | None, ...] = (None, *get_args(Ending))
"""What an attempt may have been submitted for when the operator was killed before its status said so."""


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


class Executor:
    """Carries out actions with the clients it was given."""

    def __init__(self, cluster: Cluster, ray: RayApi, cache: WatchCache, heads: Heads, settings: Settings) -> None:
        self._cluster = cluster
        self._clusters = RayClusters(cluster, cache, NetworkPolicies(cluster, cache, settings))
        self._ray = ray
        self._heads = heads
        self._settings = settings

    async def execute(self, action: plan.Action, job: JobView) -> None:
        """Does it. Raises PassingError to be tried again, an error of this module where people should know why."""
        log.info("%s", action, extra={"key": f"{job.namespace}/{job.name}"})
        match action:
            case plan.CreateCluster(workers):
                await self._create_cluster(job, workers)
            case plan.DeleteCluster(name, uid):
                await self._delete_cluster(job, name, uid)
            case plan.SubmitDriver():
                await self._submit(job, action)
            case plan.StopDriver():
                await self._stop(job, action)
            case plan.ScaleCluster():
                await self._clusters.scale(job.namespace, action)
            case plan.DeleteJob():
                await self._cluster.delete(JOBS, job.namespace, job.name, job.uid, job.resource_version)

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
            queueing=job.queueing,
            priority_class=settings.batch_priority_class,
            made_by=OPERATOR_VERSION,
        )

    async def _create_cluster(self, job: JobView, workers: int) -> None:
        order = self.order(job)
        self._heads.forget(cluster_of(job))
        try:
            await self._clusters.create(
                NewRayCluster("job", ray_cluster(order, workers), token_secret(order, new_token()))
            )
        except RayClusterRefusedError as error:
            reason = Reason.KUBERAY_MISSING if error.no_kuberay else Reason.CLUSTER_REJECTED
            raise ClusterRefusedError(Rejection(reason, str(error))) from error

    async def _delete_cluster(self, job: JobView, name: str, uid: str) -> None:
        self._heads.forget(cluster_of(job))
        await self._clusters.delete(job.namespace, name, uid)

    async def _submit(self, job: JobView, submit: plan.SubmitDriver) -> None:
        config = job_config(job, submit, self._settings.allow_loopback_input)
        try:
            head = await self._heads.head(cluster_of(job), submit.head_ip)
            for namesake in NAMESAKES if submit.ending else ():
                if namesake != submit.ending:
                    await self._ray.stop(head, submission_id(job.uid, submit.attempt, namesake))
            await self._ray.submit(head, submission_id(job.uid, submit.attempt, submit.ending), config)
        except RayUnavailableError as error:
            self._heads.forget(cluster_of(job))
            raise DriverRefusedError(str(error)) from error
        except RayRefusedError as error:
            raise DriverRefusedError(str(error), final=True) from error

    async def _stop(self, job: JobView, stop: plan.StopDriver) -> None:
        """A head that does not take the stop holds nothing up: the next look tries again, and in the end it goes."""
        try:
            head = await self._heads.head(cluster_of(job), stop.head_ip)
            await self._ray.stop(head, submission_id(job.uid, stop.attempt, stop.ending))
        except RayUnavailableError as error:
            self._heads.forget(cluster_of(job))
            log.warning("the driver cannot be stopped yet: %s", error, extra={"key": f"{job.namespace}/{job.name}"})


def _spec(job: JobView) -> BatchInferenceJobSpec:
    if job.spec is None:
        raise ValueError(f"an action for {job.namespace}/{job.name} needs a spec that can be read")
    return job.spec
