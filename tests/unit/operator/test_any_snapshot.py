"""Whatever a snapshot says, however unlikely: a plan comes out that the API takes and the shell can carry out."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.operator.builders import T0, make_cluster, make_job, make_spec, make_workers

from tidemill_api.conditions import ConditionType, Reason
from tidemill_api.job_contract import Outcome, RowCounts
from tidemill_api.v1alpha1.batch_inference_job_status import (
    BatchInferenceJobStatus,
    Condition,
    DriverStatus,
    RowsStatus,
)
from tidemill_operator.core.plan import CreateCluster, ScaleCluster, SubmitDriver
from tidemill_operator.core.planner import plan
from tidemill_operator.core.snapshot import (
    AttemptState,
    AttemptView,
    DriverMetrics,
    Rejection,
    Snapshot,
    SourceView,
)

REASONS = st.sampled_from(Reason)
MOMENTS = st.none() | st.integers(-7200, 7200).map(lambda s: T0 + timedelta(hours=3, seconds=s))
SMALL = st.integers(0, 6)


def said(**fields):
    return Condition(last_transition_time=T0, **fields)


def ledger(*, attempt, is_open, **fields):
    ended_attempt = attempt - 1 if attempt and is_open else attempt
    return DriverStatus(attempt=attempt, ended_attempt=ended_attempt, **fields)


def snapshot(*, attempt, metrics, **fields):
    """As the reconciler makes it: an attempt is looked at only where one is open, its figures only while it runs."""
    driver, cluster = fields["job"].status.driver, fields["cluster"]
    if driver.attempt == driver.ended_attempt:
        attempt = AttemptView(AttemptState.NONE)
    elif cluster is None:
        attempt = AttemptView(AttemptState.LOST)
    elif not cluster.head_ready:
        attempt = AttemptView(AttemptState.UNKNOWN, problem="the head pod is not ready.")
    return Snapshot(attempt=attempt, metrics=metrics if attempt.state is AttemptState.ACTIVE else None, **fields)


def rarely(usual, rare):
    return st.sampled_from([usual] * 7 + [rare])


SPECS = st.builds(
    make_spec,
    suspend=rarely(False, True),
    cancel=rarely(False, True),
    resubmitOf=rarely("", "before"),
    completionWindow=st.sampled_from(["5m", "4h", "8h"]),
)
CONDITIONS = st.builds(
    said,
    type=st.sampled_from([of for of in ConditionType if of != ConditionType.FINISHED]),
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=REASONS,
    message=st.text(max_size=9),
)
DRIVERS = st.builds(
    ledger,
    attempt=SMALL,
    is_open=st.booleans(),
    failures=SMALL,
    rows_at_failure=SMALL,
    finalising_attempt=SMALL,
    waits=SMALL,
    retry_time=MOMENTS,
    ending=st.sampled_from([None, "Cancelled", "Expired"]),
    ending_time=MOMENTS,
    suspend_time=MOMENTS,
    resubmit_of_uri=st.sampled_from(["", "/data/before/"]),
)
STATUSES = st.builds(
    BatchInferenceJobStatus,
    conditions=st.lists(CONDITIONS, unique_by=lambda c: c.type, max_size=4).map(tuple),
    rows=st.builds(RowsStatus, total=SMALL, completed=SMALL),
    driver=DRIVERS,
)
OUTCOMES = st.builds(Outcome, reason=REASONS, message=st.text(max_size=9), rows=st.builds(RowCounts, total=SMALL))
METRICS = st.builds(
    DriverMetrics,
    phase=st.sampled_from(["validating", "processing", "finalising"]),
    rows_total=st.none() | SMALL,
    rows_completed=st.none() | SMALL,
    rows_failed=SMALL,
    rows_per_second=st.none() | st.floats(1e-9, 1e9),
    in_flight=st.dictionaries(st.sampled_from(["10.0.1.1", "10.0.1.9"]), SMALL),
)
CLUSTERS = st.builds(
    make_cluster,
    deleting=rarely(False, True),
    head_ready=rarely(True, False),
    replicas=SMALL,
    head_ready_since=MOMENTS,
    fixed=rarely(False, True),
    queue=st.sampled_from(["", "nights"]),
    suspended_since=rarely(None, T0),
)
SNAPSHOTS = st.builds(
    snapshot,
    now=st.integers(-7200, 7200).map(lambda s: T0 + timedelta(hours=3, seconds=s)),
    job=st.builds(make_job, spec=SPECS, status=STATUSES, problem=rarely("", "wrong.")),
    cluster=st.one_of(CLUSTERS, CLUSTERS, st.none()),
    workers=SMALL.map(make_workers),
    attempt=st.builds(
        AttemptView,
        state=st.sampled_from([of for of in AttemptState if of != AttemptState.NONE]),
        outcome=st.none() | OUTCOMES,
        problem=st.just("slow."),
    ),
    metrics=st.none() | METRICS,
    source=st.none()
    | st.builds(
        SourceView,
        st.booleans(),
        st.sampled_from(["/data/out/", "/data/before"]),
        rarely("", "Expired"),
        rarely((), ("tickets", "before", "tickets")),
    ),
    pods=SMALL,
    rejection=rarely(None, Rejection(Reason.CLUSTER_REJECTED, "quota.")),
    submit_problem=rarely("", "HTTP 500"),
)


@settings(max_examples=600, deadline=None)
@given(SNAPSHOTS)
def test_every_snapshot_has_a_plan_that_can_be_carried_out(seen):
    decided = plan(seen)
    status = decided.status
    assert BatchInferenceJobStatus.model_validate_json(status.model_dump_json(by_alias=True)) == status
    assert len({c.type for c in status.conditions}) == len(ConditionType)
    assert decided.recheck_after is None or decided.recheck_after >= timedelta(0)
    finished = status.completion_time is not None
    assert finished or decided.recheck_after is not None, "nobody would ever look again"
    asked = seen.job.spec is None or seen.job.spec.suspend or seen.job.spec.cancel or seen.now >= seen.deadline
    for action in decided.actions:
        match action:
            case SubmitDriver():
                assert not seen.submit_problem, "it would be asked for again and again in one look"
                assert status.driver.attempt == action.attempt == seen.job.status.driver.attempt + 1
                assert status.driver.ended_attempt >= seen.job.status.driver.attempt
                assert status.driver.ending == action.ending
            case ScaleCluster(replicas=replicas):
                assert replicas <= seen.cluster.replicas or not asked
                assert not (seen.cluster.fixed and seen.cluster.replicas), "Kueue would take it back"
            case CreateCluster():
                assert seen.cluster is None
                assert seen.rejection is None
                assert not finished


def at_work(status):
    driver = ledger(attempt=max(status.driver.attempt, 1), is_open=True, waits=status.driver.waits)
    return status.model_copy(update={"driver": driver})


BLIND = st.builds(
    Snapshot,
    now=st.integers(-7200, 7200).map(lambda s: T0 + timedelta(hours=3, seconds=s)),
    job=st.builds(
        make_job,
        spec=st.just(make_spec(completionWindow="8h")),
        status=STATUSES.map(at_work),
    ),
    cluster=st.builds(make_cluster, replicas=SMALL, head_ready_since=MOMENTS),
    workers=SMALL.map(make_workers),
    attempt=st.just(AttemptView(AttemptState.ACTIVE)),
)
"""A job at work, of which Ray says that it runs, and whose figures cannot be read."""


@settings(max_examples=600, deadline=None)
@given(BLIND)
def test_a_job_whose_figures_are_missing_never_loses_a_worker(seen):
    for action in plan(seen).actions:
        assert not isinstance(action, ScaleCluster) or action.replicas >= seen.cluster.replicas, action
