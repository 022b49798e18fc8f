"""What a job asks for when GPUs are shared out: by its status alone, and holding on to what it has while blind."""

from datetime import timedelta

from unit.operator.builders import (
    RUNNING,
    SILENT,
    T0,
    crew,
    look,
    make_job,
    make_spec,
    make_workers,
    processing,
    running_status,
)

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.job_claim import claim_of
from tidemill_operator.core.snapshot import Snapshot


def claim_after(*, rows_left, minutes=5, window="4h", blind=False, workers=3, **spec):
    """The claim of a job with so many rows left and workers ready, so long after its creation."""
    made = make_spec(completionWindow=window, workers={"max": 8}, resources={"gpu": 1}, **spec)
    job = make_job(spec=made, status=running_status(pool_size=8))
    status = look(job=job, **crew(workers), **processing(rows_total=rows_left + 4)).status
    if blind:
        job = make_job(spec=made, status=status)
        status = look(job=job, after=timedelta(minutes=2), **crew(workers), attempt=RUNNING).status
        said = next(c for c in status.conditions if c.type == ConditionType.PROGRESSING)
        assert said.reason == Reason.FIGURES_MISSING
    seen = Snapshot(now=T0 + timedelta(minutes=minutes), job=make_job(spec=made, status=status), **crew(workers))
    return claim_of(seen, "job/tickets")


def test_a_job_claims_what_its_deadlines_need():
    few, many = claim_after(rows_left=100, workers=0), claim_after(rows_left=1_000_000, workers=0)
    assert (few.want, few.must, few.urgent) == (1, 1, 0)
    assert (many.want, many.must, many.urgent) == (8, 8, 8)


def test_a_job_whose_figures_are_missing_needs_all_that_it_has():
    seen, unseen = claim_after(rows_left=2), claim_after(rows_left=2, blind=True)
    assert seen.must < 3
    assert (unseen.want, unseen.must, unseen.urgent, unseen.have) == (3, 3, 3, 3)


def test_a_job_past_its_window_or_with_far_too_many_rows_claims_nothing_from_those_in_time():
    late = claim_after(rows_left=100, minutes=300, onDeadline="Continue")
    assert (late.want > 0, late.lost) == (True, True)
    assert claim_after(rows_left=100_000_000).lost
    assert not claim_after(rows_left=1_000_000).lost, "a speed that nobody measured may be a good one"
    assert not claim_after(rows_left=100_000_000, blind=True).lost


def test_the_patience_of_a_job_ends_with_a_third_of_its_window_whether_it_has_workers_or_not():
    assert claim_after(rows_left=100, minutes=79).starved_seconds == 0
    assert claim_after(rows_left=100, minutes=81).starved_seconds == 60
    assert claim_after(rows_left=100, minutes=81, workers=0).starved_seconds == 60


def test_a_job_whose_ray_is_silent_needs_all_that_it_has():
    made = make_spec(completionWindow="4h", workers={"max": 8}, resources={"gpu": 1})
    job = make_job(spec=made, status=running_status(pool_size=8))
    status = look(job=job, **crew(3), **processing(rows_total=6)).status
    status = look(job=make_job(spec=made, status=status), after=timedelta(minutes=2), **crew(3), attempt=SILENT).status
    said = next(c for c in status.conditions if c.type == ConditionType.PROGRESSING)
    assert said.reason == Reason.RAY_UNREACHABLE
    seen = Snapshot(now=T0 + timedelta(minutes=3), job=make_job(spec=made, status=status), **crew(3))
    claim = claim_of(seen, "job/tickets")
    assert (claim.want, claim.must, claim.urgent, claim.have) == (3, 3, 3, 3)


def test_a_suspended_job_without_workers_claims_nothing():
    assert claim_after(rows_left=100, workers=0, suspend=True) is None
    assert claim_after(rows_left=100, suspend=True).want == 0


def test_workers_that_leave_are_not_counted():
    job = make_job(spec=make_spec(resources={"gpu": 1}), status=running_status(pool_size=8))
    seen = Snapshot(now=T0, job=job, workers=make_workers(2, deleting=True))
    assert claim_of(seen, "job/tickets") is None
