"""Rules of a job that must not work now: suspended by its user, or waiting for the job that it continues.

Nothing may cost meanwhile: a suspended job has no cluster, and one that waits for its source gets none yet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.attempts import open_attempt
from tidemill_operator.core.decision import Case, Claim, Decision
from tidemill_operator.core.graces import LEAVE_GRACE, SAFETY_NET, STOP_GRACE, STOP_POLL, until
from tidemill_operator.core.rules_end import end
from tidemill_operator.core.spec_checks import same_folder
from tidemill_operator.core.stopping import remove_cluster, stop_driver
from tidemill_operator.core.worker_group import scale_actions

if TYPE_CHECKING:
    from tidemill_operator.core.snapshot import SourceView

SUSPENDED_MESSAGE = (
    "spec.suspend is true: nothing runs, and the completion window goes on. Set it to false to continue."
)


def suspended(case: Case) -> Decision | None:
    """The user wants a pause: stop the driver, then the workers, then remove the cluster.

    `Suspended` is True once no pod is left. Pods that outlive their RayCluster wake nobody, so they are looked for.
    """
    if case.driver.suspend_time is None:
        return None
    if case.seen.cluster is None and case.seen.pods:
        claim = _pausing("The RayCluster is deleted, its pods are leaving.")
        return Decision(claims=(claim,), workers_desired=0, recheck_after=case.seen.tuning.poll)
    if case.seen.cluster is None:
        said = Claim(ConditionType.SUSPENDED, "True", Reason.SUSPEND_REQUESTED, SUSPENDED_MESSAGE)
        return Decision(claims=(_pausing("The job is suspended."), said), workers_desired=0, recheck_after=until(case))
    return _wind_down(case)


def _wind_down(case: Case) -> Decision:
    cluster, since = case.seen.cluster, case.driver.suspend_time
    if cluster is None or since is None or cluster.deleting:
        return Decision(claims=(_pausing("The RayCluster is being deleted."),), recheck_after=SAFETY_NET)
    if open_attempt(case.driver) and cluster.suspended_since is None:
        claim = _pausing("The driver is being stopped, and writes down what is answered.")
        return stop_driver(case, since, claim)
    leaving = bool(cluster.replicas or case.seen.workers) and not cluster.fixed
    if leaving and case.seen.now < since + STOP_GRACE + LEAVE_GRACE:
        scaled = scale_actions(case, wanted=0, in_flight={})
        claims = (_pausing("The workers are leaving."),)
        return Decision(actions=scaled, claims=claims, workers_desired=0, recheck_after=STOP_POLL)
    claims = (_pausing("The RayCluster is being deleted."),)
    return Decision(actions=remove_cluster(case), claims=claims, workers_desired=0, recheck_after=STOP_POLL)


def _pausing(message: str) -> Claim:
    return Claim(ConditionType.PROGRESSING, "False", Reason.SUSPEND_REQUESTED, message)


def source_not_ready(case: Case) -> Decision | None:
    """The job that this one continues is not there or not at its end: wait for it without a cluster.

    Where its output folder was is written down with the cluster; from then on the source may go. One that will never
    have results ends the job: waiting for it would only use up the window.
    """
    name, source = case.spec.resubmit_of, case.seen.source
    if not name or case.driver.resubmit_of_uri or case.ending is not None:
        return None
    if source is not None and (refused := _never_ready(case, source)):
        return end(case, Reason.INVALID_SPEC, refused)
    if source is not None and source.finished:
        return None
    what = "has not finished yet" if source is not None else "does not exist in this namespace"
    message = f"The job {name}, named in resubmitOf, {what}. This job starts when that one has finished."
    claim = Claim(ConditionType.PROGRESSING, "False", Reason.RESUBMIT_SOURCE_NOT_READY, message)
    waiting = Decision(actions=remove_cluster(case), claims=(claim,), workers_desired=0)
    return replace(waiting, recheck_after=until(case, case.seen.now + case.seen.tuning.backoff_max))


def _never_ready(case: Case, source: SourceView) -> str:
    """Why waiting for this source would never end; empty where it may."""
    name = case.spec.resubmit_of
    if source.circle:
        chain = " -> ".join(source.circle)
        return f"resubmitOf: each of these jobs waits for the next: {chain}. Create the first of them without it."
    if source.unwritten:
        return (
            f"The job {name}, named in resubmitOf, ended as {source.unwritten} without results: there is nothing to"
            " take over. Create this job without resubmitOf, it runs every row."
        )
    if source.finished and same_folder(source.output_uri, case.spec.output.uri):
        return f"output.uri is the output folder of {name}, named in resubmitOf: create the job with another folder."
    return ""
