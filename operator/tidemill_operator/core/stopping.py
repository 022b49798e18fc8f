"""Stopping the driver in order, for every rule that has to: it flushes what is answered before it goes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidemill_operator.core.figures import figures
from tidemill_operator.core.graces import STOP_GRACE, STOP_POLL
from tidemill_operator.core.plan import Action, DeleteCluster, StopDriver
from tidemill_operator.core.snapshot import AttemptState

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.core.decision import Case, Claim, Decision


def stop_driver(case: Case, since: datetime, claim: Claim) -> Decision:
    """Stops the open attempt, or removes the cluster where that takes too long; says what is known of the rows."""
    known = figures(case)
    actions = remove_cluster(case) if case.seen.now >= since + STOP_GRACE else _stop(case)
    return replace(known, actions=actions, claims=(*known.claims, claim), recheck_after=STOP_POLL)


def _stop(case: Case) -> tuple[Action, ...]:
    cluster = case.seen.cluster
    if cluster is None or case.seen.attempt.state is not AttemptState.ACTIVE:
        return ()
    return (StopDriver(cluster.head_ip, case.driver.attempt, case.driver.ending),)


def remove_cluster(case: Case) -> tuple[Action, ...]:
    """The cluster's deletion, where it stands and is not on its way out already."""
    cluster = case.seen.cluster
    return (DeleteCluster(cluster.name, cluster.uid),) if cluster is not None and not cluster.deleting else ()
