"""What is left and when it will be done: figures of the queue, the forecast, and what is said of skipped lines."""

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
    message,
    running_status,
)

from tidemill_api.conditions import ConditionType, Reason
from tidemill_api.job_contract import Outcome, RowCounts
from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus, QueueStatus
from tidemill_operator.core.outlook import forecast_of, queue_of
from tidemill_operator.core.snapshot import AttemptState, AttemptView, DriverMetrics, Snapshot


def work(after, status=None, **figures):
    given = {"phase": "processing", "rows_total": 100, "rows_completed": 40, "rows_per_worker": 10} | figures
    return look(after=after, status=status or running_status(), cluster=make_cluster(), **active(**given))


@pytest.mark.parametrize(
    ("after", "age", "ratio"),
    [
        (timedelta(seconds=9), 0, "0.00"),
        (timedelta(minutes=2, seconds=29), 140, "0.01"),
        (timedelta(hours=1), 3600, "0.25"),
        (timedelta(hours=3, minutes=59, seconds=59), 14390, "1.00"),
    ],
)
def test_rows_that_are_left_are_as_old_as_their_job(after, age, ratio):
    queue = work(after).status.queue
    assert queue == QueueStatus(depth=60, oldest_age_seconds=age, age_ratio=ratio)


def test_rows_in_flight_are_part_of_the_queue():
    assert work(timedelta(minutes=5), in_flight={"10.0.1.1": 10}).status.queue.depth == 60


def test_a_queue_without_rows_has_no_age():
    assert work(timedelta(hours=1), rows_completed=100).status.queue == QueueStatus()


@pytest.mark.parametrize(
    ("rate", "finish", "meets"),
    [
        (1.0, timedelta(hours=1, minutes=1), True),
        (7.0, timedelta(hours=1, seconds=10), True),
        (0.005, timedelta(hours=1, seconds=12_000), False),
    ],
)
def test_the_forecast_is_the_rows_left_at_the_rate_measured(rate, finish, meets):
    forecast = work(timedelta(hours=1), rows_per_second=rate).status.forecast
    assert (forecast.finish_time, forecast.meets_window) == (T0 + finish, meets)


@pytest.mark.parametrize("rate", [None, 0.0])
def test_without_a_rate_there_is_no_forecast(rate):
    assert work(timedelta(hours=1), rows_per_second=rate).status.forecast is None


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
    assert (later.status.queue.age_ratio, later.status.queue.depth) == ("0.50", 60)


def test_the_forecast_survives_a_moment_without_figures_and_nothing_else():
    first = work(timedelta(hours=1), rows_per_second=1.0).status
    held = look(after=timedelta(hours=1), status=first, cluster=make_cluster(), attempt=SILENT)
    assert held.status.forecast == first.forecast
    lost = look(after=timedelta(hours=1), status=first, cluster=make_cluster(), **ended(Reason.MODEL_NOT_FOUND))
    assert lost.status.forecast is None
    job = make_job(spec=make_spec(suspend=True), status=first)
    paused = look(after=timedelta(hours=1), job=job, cluster=make_cluster(), attempt=SILENT)
    assert paused.status.forecast is None


def test_a_finished_job_has_neither_queue_nor_forecast():
    first = work(timedelta(hours=1), rows_per_second=1.0).status
    over = look(after=timedelta(hours=1), status=first, cluster=make_cluster(), **ended(Reason.ALL_ROWS_ANSWERED))
    assert (over.status.queue, over.status.forecast) == (QueueStatus(), None)


@given(
    st.integers(0, 10**12),
    st.floats(0, 1e12) | st.none(),
    st.timedeltas(timedelta(days=-1), timedelta(days=4000)),
)
def test_any_figures_give_a_status_that_the_api_takes(left, rate, after):
    metrics = DriverMetrics(phase="processing", rows_per_second=rate)
    seen = Snapshot(now=T0 + after, job=make_job(), metrics=metrics)
    queue, forecast = queue_of(seen, left), forecast_of(seen, left)
    status = BatchInferenceJobStatus(queue=queue, forecast=forecast)
    assert BatchInferenceJobStatus.model_validate_json(status.model_dump_json(by_alias=True)) == status
    if forecast is not None:
        assert forecast.finish_time >= seen.now
        assert forecast.finish_time.timestamp() % 10 == 0


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
