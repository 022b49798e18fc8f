"""Rules about the RayCluster: what has to stand before a driver can be submitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.attempts import wait_longer
from tidemill_operator.core.claims import log_lines, next_try
from tidemill_operator.core.decision import Case, Claim, Decision
from tidemill_operator.core.graces import SAFETY_NET, until
from tidemill_operator.core.plan import CreateCluster, Event
from tidemill_operator.core.queueing import suspended_message
from tidemill_operator.core.stopping import remove_cluster
from tidemill_operator.core.worker_group import scale_actions

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.core.plan import Action


def cluster_rejected(case: Case) -> Decision | None:
    """The API server refused the cluster in this pass: say why, and try again later."""
    rejection = case.seen.rejection
    if rejection is None:
        return None
    driver = wait_longer(case.driver, case.seen)
    claim = Claim(
        ConditionType.PROGRESSING, "False", rejection.reason, f"{rejection.message} {next_try(driver.retry_time)}"
    )
    return Decision(claims=(claim,), driver=driver, recheck_after=until(case, driver.retry_time))


def awaiting_retry(case: Case) -> Decision | None:
    """Something outside is missing, or the driver keeps dying: no worker runs until the next try is due.

    A cluster of a fixed size goes as a whole, and gives its quota back.
    """
    retry = case.driver.retry_time
    if retry is None or case.seen.now >= retry:
        return None
    claims = (_awaiting_claim(case, retry),) if case.just_booked else ()
    stands = case.seen.cluster is not None and not case.seen.cluster.deleting
    actions = _idle_actions(case) if stands else ()
    return Decision(actions=actions, claims=claims, workers_desired=0, recheck_after=until(case, retry))


def _idle_actions(case: Case) -> tuple[Action, ...]:
    fixed = case.seen.cluster is not None and case.seen.cluster.fixed
    return remove_cluster(case) if fixed else scale_actions(case, wanted=0, in_flight={})


def _awaiting_claim(case: Case, retry: datetime) -> Claim:
    attempt = case.seen.attempt
    if attempt.outcome is not None:
        message = f"{attempt.outcome.message} {next_try(retry)}"
        return Claim(ConditionType.PROGRESSING, "False", attempt.outcome.reason, message)
    died = f"{case.driver.failures} times in a row" if case.driver.failures > 1 else "once"
    message = f"The driver died {died} without a new row. {next_try(retry)}"
    return Claim(ConditionType.PROGRESSING, "False", Reason.DRIVER_FAILING, message + log_lines(case))


def cluster_leaving(case: Case) -> Decision | None:
    """The cluster is being deleted, by someone else: wait until it is gone."""
    if case.seen.cluster is None or not case.seen.cluster.deleting:
        return None
    claim = Claim(ConditionType.PROGRESSING, "True", Reason.CLUSTER_STARTING, "The old RayCluster is being deleted.")
    return Decision(claims=(claim,), workers_desired=0, recheck_after=SAFETY_NET)


def cluster_missing(case: Case) -> Decision | None:
    """There is no cluster: create it with a head and no worker.

    With all workers where Kueue lets it keep one size only, but for one that only writes error lines.
    """
    if case.seen.cluster is not None:
        return None
    workers = case.spec.workers.max if case.seen.job.queueing.fixed and case.ending is None else 0
    claim = Claim(ConditionType.PROGRESSING, "True", Reason.CLUSTER_STARTING, "The head pod is starting.")
    created = Event("Normal", "ClusterCreated", f"Created the RayCluster with a head and {workers or 'no'} workers.")
    driver = case.driver.model_copy(update={"resubmit_of_uri": case.source_folder})
    return Decision(
        actions=(CreateCluster(workers),),
        claims=(claim,),
        driver=driver,
        workers_desired=workers,
        events=(created,),
        recheck_after=SAFETY_NET,
    )


def awaiting_admission(case: Case) -> Decision | None:
    """The RayCluster is suspended: nothing of it runs until Kueue, which alone may say so, lets it.

    A driver that ran is lost with its head, and found to be so once there is one again. A job that only has error lines
    to write does not wait for quota of workers: it takes a cluster without any.
    """
    cluster = case.seen.cluster
    if cluster is None or cluster.suspended_since is None:
        return None
    if case.ending is not None and cluster.fixed and cluster.replicas:
        message = "The RayCluster, which waits for workers that the job does not need any more, is being deleted."
        claim = Claim(ConditionType.PROGRESSING, "True", Reason.CLUSTER_STARTING, message)
        return Decision(actions=remove_cluster(case), claims=(claim,), workers_desired=0, recheck_after=SAFETY_NET)
    claim = Claim(ConditionType.PROGRESSING, "False", Reason.AWAITING_ADMISSION, suspended_message(cluster))
    return Decision(
        claims=(claim,), workers_desired=cluster.replicas, recheck_after=until(case, case.seen.now + SAFETY_NET)
    )


def head_starting(case: Case) -> Decision | None:
    """The head is not ready: say what it waits for. KubeRay's next status wakes us.

    Workers wait for a head that comes back soon, for rows that are to run; else they only cost.
    """
    cluster = case.seen.cluster
    if cluster is None or (cluster.head_ready and cluster.head_ip):
        return None
    message = (
        f"The head pod is starting: {cluster.head_problem}" if cluster.head_problem else "The head pod is starting."
    )
    claim = Claim(ConditionType.PROGRESSING, "True", Reason.CLUSTER_STARTING, message)
    refused_before = case.reason(ConditionType.PROGRESSING) in (Reason.CLUSTER_REJECTED, Reason.KUBERAY_MISSING)
    driver = case.driver.model_copy(update={"waits": 0}) if refused_before else None
    free = case.ending is not None or case.head_away_for_good
    return Decision(
        actions=scale_actions(case, wanted=0, in_flight={}) if free and cluster.replicas else (),
        claims=(claim,),
        driver=driver,
        workers_desired=0 if free else None,
        recheck_after=until(case, case.seen.now + SAFETY_NET),
    )
