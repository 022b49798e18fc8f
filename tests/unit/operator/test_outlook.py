"""What is left and when it will be done: figures of the queue, the forecast, and what is said of skipped lines."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.builders import (
    RUNNING,
    SILENT,
    T0,
    VALIDATED,
    active,
    condition,
    ended,
    look,
    make_cluster,
    make_job,
    make_spec,
    make_workers,
    message,
    running_status,
)

from tidemill_api.conditions import ConditionType, Reason
from tidemill_api.job_contract import Outcome, RowCounts
from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus, RowsStatus
from tidemill_api.v1alpha1.queue_status import MeasuredStatus, QueueStatus
from tidemill_operator.core.outlook import prospect
from tidemill_operator.core.snapshot import AttemptState, AttemptView, DriverMetrics, Snapshot


def work(after, status=None, **figures):
    given = {"phase": "processing", "rows_total": 100, "rows_completed": 40, "rows_per_worker": 10} | figures
    return look(after=after, status=status or running_status(), cluster=make_cluster(), **active(**given))


@pytest.mark.parametrize(
    ("after", "age", "ratio", "health", "reason"),
    [
        (timedelta(seconds=9), 0, "0.00", "Healthy", "WithinTarget"),
        (timedelta(minutes=2, seconds=29), 140, "0.03", "Healthy", "WithinTarget"),
        (timedelta(hours=1), 3600, "0.75", "Healthy", "WithinTarget"),
        (timedelta(minutes=160), 9600, "2.00", "Warning", "TwiceTarget"),
        (timedelta(hours=3, minutes=59, seconds=59), 14390, "3.00", "Warning", "TwiceTarget"),
    ],
)
def test_rows_that_are_left_are_as_old_as_their_job_and_judged_by_its_target(after, age, ratio, health, reason):
    queue = work(after).status.queue
    assert queue == QueueStatus(depth=60, oldest_age_seconds=age, age_ratio=ratio, health=health, reason=reason)


def test_a_job_past_thrice_its_target_is_critical():
    job = make_job(spec=make_spec(targetCompletion="10m"), status=running_status())
    seen = look(
        after=timedelta(minutes=30), job=job, cluster=make_cluster(), **active(phase="processing", rows_total=9)
    )
    assert (seen.status.queue.health, seen.status.queue.reason) == ("Critical", "ThriceTarget")


def test_a_job_whose_rows_nobody_could_count_grows_older_all_the_same():
    late = look(after=timedelta(minutes=170), job=make_job(), cluster=make_cluster(head_ready=False, head_ip=""))
    assert (late.status.queue.depth, late.status.queue.health) == (0, "Warning")
    assert condition(late, ConditionType.WINDOW_AT_RISK)[0] == "True"


@pytest.mark.parametrize(("after", "seconds"), [(timedelta(minutes=159, seconds=57), 3), (timedelta(minutes=239), 30)])
def test_the_next_level_of_health_is_looked_at_when_it_comes(after, seconds):
    waiting = look(after=after, job=make_job(), cluster=make_cluster(head_ready=False, head_ip=""))
    assert waiting.recheck_after == timedelta(seconds=seconds)


def test_rows_in_flight_are_part_of_the_queue():
    assert work(timedelta(minutes=5), in_flight={"10.0.1.1": 10}).status.queue.depth == 60


def test_a_queue_without_rows_has_no_age():
    assert work(timedelta(hours=1), rows_completed=100).status.queue == QueueStatus()


def at_work(after, status=None, created=timedelta(minutes=20), **figures):
    """Two workers that hold rows, created so long after the job."""
    team = tuple(replace(worker, created=T0 + created) for worker in make_workers(2))
    given = {"phase": "processing", "rows_total": 5000, "rows_per_worker": 10, "in_flight": HELD} | figures
    seen = {"cluster": make_cluster(replicas=2), "workers": team, **active(**given)}
    return look(after=after, status=status or running_status(), **seen)


HELD = {"10.0.1.1": 10, "10.0.1.2": 10}


def measured(rows_a_minute, minutes):
    """The status of a job whose two workers have answered so many rows in each of so many minutes after the first."""
    status = at_work(timedelta(minutes=30)).status
    for minute in range(1, minutes + 1):
        after = timedelta(minutes=30 + minute)
        status = at_work(after, status, rows_completed=rows_a_minute * minute).status
    return status


def test_workers_are_measured_by_the_rows_that_they_answer_and_by_their_starts():
    so = measured(rows_a_minute=120, minutes=10).measured
    assert (float(so.rows_per_second_per_worker), so.rows) == (pytest.approx(1.0, rel=0.01), 1200)
    assert (so.startup_seconds, so.startups, so.newest_worker_time) == (600, 2, T0 + timedelta(minutes=20))


def test_an_operator_that_was_away_does_not_take_its_absence_for_work():
    before = measured(rows_a_minute=120, minutes=10)
    later = at_work(timedelta(hours=2), before, rows_completed=4000).status
    assert later.measured.rows_per_second_per_worker == before.measured.rows_per_second_per_worker
    assert later.measured.observed_rows == 4000


def test_a_queue_that_has_run_dry_is_no_measure_of_its_workers():
    before = measured(rows_a_minute=120, minutes=10)
    dry = at_work(timedelta(minutes=41), before, rows_completed=4980, in_flight={"10.0.1.1": 20}).status
    assert dry.measured.rows == before.measured.rows


def test_a_job_too_small_to_fill_its_workers_is_measured_and_its_forecast_follows():
    """Sixty rows, all with one worker that could hold 256: it takes a minute for each, and no other has any."""
    team = {"cluster": make_cluster(replicas=1), "workers": make_workers(1)}
    job = make_job(spec=make_spec(completionWindow="30m", workers={"max": 4}), status=running_status())
    for minute in range(9):
        rows = {"phase": "processing", "rows_total": 60, "rows_completed": minute, "rows_per_worker": 256}
        flying = active(**rows, in_flight={"10.0.1.1": 60 - minute})
        seen = look(after=timedelta(minutes=minute), job=job, **team, **flying)
        job = replace(job, status=seen.status)
    assert float(seen.status.measured.rows_per_second_per_worker) == pytest.approx(1 / 60, rel=0.01)
    assert seen.status.measured.rows == 8
    assert seen.status.forecast.meets_window is False
    assert condition(seen, ConditionType.WINDOW_AT_RISK) == ("True", "TooFewWorkers")
    assert "Workers that can have a row of those left: 1" in message(seen, ConditionType.WINDOW_AT_RISK)


def test_the_forecast_follows_what_the_workers_were_measured_at():
    so = measured(rows_a_minute=120, minutes=10)
    left = timedelta(seconds=(5000 - 1200) / 2)
    off = so.forecast.finish_time - (T0 + timedelta(minutes=40) + left)
    assert abs(off) <= left * 0.1
    assert so.forecast.meets_window
    assert so.forecast.chance_percent == 100
    assert so.forecast.workers_needed == 1


def test_a_job_that_cannot_meet_its_window_says_so_with_the_cause_and_what_would_help():
    spec = make_spec(workers={"max": 2})
    before = measured(rows_a_minute=2, minutes=10)
    team = tuple(replace(worker, created=T0 + timedelta(minutes=20)) for worker in make_workers(2))
    seen = {"cluster": make_cluster(replicas=2), "workers": team, **active(**WORKING)}
    late = look(after=timedelta(minutes=41), job=make_job(spec=spec, status=before), **seen)
    assert condition(late, ConditionType.WINDOW_AT_RISK) == ("True", "TooFewWorkers")
    assert "Raise workers.max from 2" in message(late, ConditionType.WINDOW_AT_RISK)
    assert before.forecast.meets_window is False
    paused = look(after=timedelta(hours=3), job=make_job(spec=make_spec(suspend=True), status=late.status))
    assert condition(paused, ConditionType.WINDOW_AT_RISK) == ("True", "Suspended")


WORKING = {"phase": "processing", "rows_total": 5000, "rows_completed": 22, "rows_per_worker": 10, "in_flight": HELD}


def test_the_forecast_is_not_written_for_itself():
    first = work(timedelta(hours=1), rows_per_second=1.0)
    same = work(timedelta(hours=1, seconds=50), first.status, rows_per_second=0.5)
    assert same.status == first.status
    moved = work(timedelta(hours=1, seconds=50), first.status, rows_per_second=0.5, rows_completed=41)
    assert moved.status.forecast.finish_time > first.status.forecast.finish_time
    stuck = work(timedelta(hours=1, minutes=1), first.status, rows_per_second=1.0)
    assert stuck.status.queue.oldest_age_seconds == 3660  # a queue that stands still shows its age


def suspended(after, status, window="4h"):
    spec = make_spec(suspend=True, completionWindow=window)
    return look(after=after, job=make_job(spec=spec, status=status))


@pytest.mark.parametrize(("window", "step"), [("4h", 140), ("5m", 60), ("14d", 12_090)])
def test_a_job_at_which_nothing_works_grows_older_all_the_same(window, step):
    hour = timedelta(hours=1) if window != "5m" else timedelta(minutes=1)
    stopped = {"driver": running_status(ended_attempt=1).driver}
    waiting = suspended(hour, work(timedelta(seconds=30)).status.model_copy(update=stopped), window)
    assert waiting.status.queue.depth == 60
    assert waiting.recheck_after == min(timedelta(seconds=step), make_spec(completionWindow=window).window - hour)
    soon = suspended(hour + timedelta(seconds=step - 1), waiting.status, window)
    assert soon.status == waiting.status
    older = suspended(hour + timedelta(seconds=step), waiting.status, window)
    assert older.status.queue.oldest_age_seconds == hour.total_seconds() + step
    assert older.events == ()


def test_the_age_of_rows_that_nobody_sees_goes_on():
    first = work(timedelta(hours=1)).status
    blind = {"cluster": make_cluster(), "attempt": RUNNING, "metrics_problem": "slow."}
    held = look(after=timedelta(hours=1), status=first, **blind)
    later = look(after=timedelta(hours=2), status=held.status, **blind)
    assert (later.status.queue.age_ratio, later.status.queue.depth) == ("1.50", 60)


def test_the_forecast_survives_a_moment_without_figures():
    first = work(timedelta(hours=1)).status
    held = look(after=timedelta(hours=1, seconds=30), status=first, cluster=make_cluster(), attempt=SILENT)
    assert held.status.forecast == first.forecast


def test_the_forecast_of_a_job_that_pauses_is_as_if_it_went_on_now():
    first = work(timedelta(hours=1)).status
    job = make_job(spec=make_spec(suspend=True), status=first.model_copy(update={"driver": STOPPED_LEDGER}))
    paused = look(after=timedelta(hours=2), job=job)
    assert paused.status.forecast.finish_time > T0 + timedelta(hours=2)
    assert paused.status.forecast.meets_window


STOPPED_LEDGER = running_status(ended_attempt=1).driver


def test_a_finished_job_has_neither_queue_nor_forecast():
    first = work(timedelta(hours=1), rows_per_second=1.0).status
    over = look(after=timedelta(hours=1), status=first, cluster=make_cluster(), **ended(Reason.ALL_ROWS_ANSWERED))
    assert (over.status.queue, over.status.forecast) == (QueueStatus(), None)


@given(
    st.integers(1, 10**12),
    st.floats(1e-9, 1e9),
    st.integers(0, 10**9),
    st.integers(-86_400, 40 * 86_400),
)
def test_any_figures_give_a_status_that_the_api_takes(left, rate, weight, seconds):
    written = f"{min(rate, 999_999_999):.6f}"  # as it is measured
    own = MeasuredStatus(rows_per_second_per_worker=written, rows=weight, startup_seconds=60, startups=1)
    before = running_status().model_copy(update={"rows": RowsStatus.counted(left, 0, 0), "measured": own})
    metrics = DriverMetrics(phase="processing", rows_total=left, rows_completed=0, rows_per_second=rate)
    seen = Snapshot(now=T0 + timedelta(seconds=seconds), job=make_job(status=before), metrics=metrics)
    status = prospect(seen, before).status
    assert BatchInferenceJobStatus.model_validate_json(status.model_dump_json(by_alias=True)) == status
    if status.forecast is not None and status.forecast.finish_time is not None:
        assert status.forecast.finish_time >= seen.now
        assert status.forecast.finish_time.timestamp() % 10 == 0


# What is said of the input


def test_the_count_of_requests_stays_said_at_the_end():
    first = work(timedelta(minutes=5))
    assert message(first, VALIDATED) == "Every line of the input is valid: 100 requests."
    rows = RowCounts(total=100, completed=100)
    over = look(status=first.status, cluster=make_cluster(), **ended(Reason.ALL_ROWS_ANSWERED, rows=rows))
    assert message(over, VALIDATED) == message(first, VALIDATED)


def skipping(status, **seen):
    spec = make_spec(input={"uri": "/data/in.jsonl", "onInvalid": "Skip"})
    return look(job=make_job(spec=spec, status=status), cluster=make_cluster(), **seen)


def test_skipped_lines_are_said_with_their_count_at_the_end():
    first = skipping(running_status(), **active(phase="processing", rows_total=100, rows_failed=3))
    assert condition(first, VALIDATED) == ("True", "BadLinesSkipped")
    assert message(first, VALIDATED) == "The input has 100 lines; bad lines are skipped, with an error line each."
    rows = RowCounts(total=100, completed=97, failed=3)
    outcome = Outcome(reason=Reason.SOME_ROWS_FAILED, message="So.", rows=rows, invalid_lines=3)
    over = skipping(first.status, attempt=AttemptView(AttemptState.ENDED, outcome=outcome))
    assert message(over, VALIDATED) == "The input has 100 lines; 3 bad lines were skipped, with an error line each."


def test_an_input_without_bad_lines_is_valid_whether_or_not_they_would_be_skipped():
    first = skipping(running_status(), **active(phase="processing", rows_total=100))
    assert condition(first, VALIDATED) == ("True", "AllLinesValid")


def test_too_many_failed_rows_end_the_job_with_its_rows_and_files():
    rows = RowCounts(total=100, completed=10, failed=90)
    over = look(status=running_status(), cluster=make_cluster(), **ended(Reason.TOO_MANY_ROWS_FAILED, rows=rows))
    assert condition(over, ConditionType.SUCCEEDED) == ("False", "TooManyRowsFailed")
    assert (over.status.rows.failed, over.status.rows.remaining) == (90, 0)
