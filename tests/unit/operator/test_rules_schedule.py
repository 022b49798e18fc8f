"""A job that has time is validated at once, costs nothing until its planned start, and is done in time; or works on."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from unit.operator.builders import (
    LOST,
    PROGRESSING,
    T0,
    condition,
    crew,
    look,
    make_cluster,
    make_job,
    make_spec,
    make_workers,
    message,
    processing,
    reasons,
    running_status,
)
from unit.operator.simulation import SimWorld

from tidemill_api.conditions import ConditionType
from tidemill_operator.core.boost import Boost
from tidemill_operator.core.job_schedule import cheap_hours
from tidemill_operator.core.plan import CreateCluster, DeleteCluster, StopDriver

NIGHT = {"start": "22:00", "end": "06:00", "timeZone": "Europe/Berlin", "priceFactor": "0.30"}
ROWS = {"rows_total": 900, "rows_completed": 0}


def waiting_job(status=None, **spec):
    return make_job(spec=make_spec(schedule="LatestSafe", **spec), status=status, generation=2)


def validated(**spec):
    """The plan at the first look at which the rows are counted."""
    return look(job=waiting_job(running_status(), **spec), cluster=make_cluster(), **processing(**ROWS))


def test_the_rows_are_counted_before_anything_is_planned_and_no_worker_starts():
    counted = validated()
    assert condition(counted, ConditionType.VALIDATED) == ("True", "AllLinesValid")
    assert (counted.actions, counted.status.workers.desired) == ((), 0)
    assert counted.status.planned.start_time > T0 + timedelta(hours=1)
    assert counted.status.planned.finish_time < T0 + timedelta(hours=4)


def test_once_the_input_is_known_to_be_good_the_driver_stops_and_the_cluster_goes():
    counted = validated().status
    stopping = look(job=waiting_job(counted), cluster=make_cluster(), **processing(**ROWS))
    assert stopping.actions == (StopDriver("10.0.0.1", 1, None),)
    assert condition(stopping, PROGRESSING) == ("False", "StartPlanned")
    ledger = stopping.status.driver.model_copy(update={"ended_attempt": 1})
    stopped = stopping.status.model_copy(update={"driver": ledger})
    leaving = look(job=waiting_job(stopped), cluster=make_cluster())
    assert leaving.actions == (DeleteCluster("tickets-abc", "cluster-1"),)
    waiting = look(job=waiting_job(leaving.status))
    assert waiting.actions == ()
    assert f"{counted.planned.start_time:%Y-%m-%dT%H:%M:%SZ}" in message(waiting, PROGRESSING)
    assert timedelta(0) < waiting.recheck_after <= counted.planned.start_time - T0


def gone(status):
    """The status of a job whose validating attempt is accounted for."""
    return status.model_copy(update={"driver": status.driver.model_copy(update={"ended_attempt": 1})})


def test_the_cluster_comes_back_a_little_before_the_planned_start_and_workers_at_it():
    before = gone(validated().status)
    start = before.planned.start_time - T0
    early = look(after=start - timedelta(minutes=3), job=waiting_job(before))
    assert early.actions == ()
    back = look(after=start - timedelta(seconds=90), job=waiting_job(early.status))
    assert back.actions == (CreateCluster(),)
    assert back.status.planned == before.planned
    again = running_status(attempt=2).driver
    at_it = back.status.model_copy(update={"driver": again})
    head = look(after=start - timedelta(seconds=30), job=waiting_job(at_it), **crew(0), **processing(**ROWS))
    assert head.actions == ()
    working = look(after=start + timedelta(seconds=1), job=waiting_job(head.status), **crew(0), **processing(**ROWS))
    assert working.actions[0].replicas > 0


def test_the_age_of_a_job_that_waits_counts_from_its_planned_start():
    before = gone(validated().status)
    waiting = look(after=timedelta(hours=1), job=waiting_job(before))
    assert (waiting.status.queue.oldest_age_seconds, waiting.status.queue.health) == (0, "Healthy")
    assert condition(waiting, ConditionType.WINDOW_AT_RISK) == ("False", "OnTrack")
    planned = waiting.status.planned
    late = look(after=planned.finish_time - T0, job=waiting_job(waiting.status), cluster=make_cluster())
    assert late.status.queue.age_ratio == "1.00"


def test_a_job_at_work_is_not_put_off_when_it_is_told_to_wait():
    busy = look(status=running_status(), **crew(1), **processing(rows_completed=4)).status
    seen = {**crew(1), **processing(rows_completed=4, in_flight={"10.0.1.1": 6})}
    told = look(job=waiting_job(busy), **seen)
    assert condition(told, PROGRESSING)[1] != "StartPlanned"
    assert not [action for action in told.actions if isinstance(action, StopDriver)]


def test_a_job_that_has_to_begin_now_is_not_put_off():
    counted = look(
        job=waiting_job(running_status()), cluster=make_cluster(), **processing(rows_total=10**7, rows_completed=0)
    )
    assert counted.actions[0].replicas == 4


def test_a_validating_head_that_is_lost_is_not_replaced_before_the_start():
    waiting = look(job=waiting_job(validated().status), **LOST)
    assert waiting.actions == ()
    assert condition(waiting, PROGRESSING) == ("False", "StartPlanned")


def test_a_target_that_is_said_is_when_the_job_is_ready():
    counted = validated(targetCompletion="2h")
    assert counted.status.planned.finish_time <= T0 + timedelta(hours=2)


def test_a_target_that_was_over_before_the_rows_were_counted_gives_way_to_the_end_of_the_window():
    job = waiting_job(running_status(), targetCompletion="1h")
    late = look(after=timedelta(minutes=61), job=job, cluster=make_cluster(), **processing(**ROWS)).status
    assert late.planned.start_time == T0 + timedelta(minutes=61)
    assert late.planned.finish_time == T0 + timedelta(hours=4)
    job = waiting_job(late, targetCompletion="1h")
    later = look(after=timedelta(minutes=64), job=job, **crew(0), **processing(**ROWS))
    assert later.status.planned == late.planned
    assert later.status.queue.health == "Healthy"
    assert later.actions[0].replicas > 0


def test_a_job_that_took_over_results_costs_nothing_until_its_planned_start_either():
    taken = {"rows_total": 900, "rows_completed": 300}
    counted = look(job=waiting_job(running_status()), cluster=make_cluster(), **processing(**taken)).status
    assert counted.rows.completed == 300
    stopping = look(job=waiting_job(counted), cluster=make_cluster(), **processing(**taken))
    assert stopping.actions == (StopDriver("10.0.0.1", 1, None),)
    waiting = look(job=waiting_job(gone(stopping.status)))
    assert condition(waiting, PROGRESSING) == ("False", "StartPlanned")
    assert waiting.actions == ()


def test_the_work_waits_for_cheaper_hours():
    hours = [{"start": "14:00", "end": "15:50", "priceFactor": "0.20"}]
    counted = validated(cheaperHours=hours)
    assert counted.status.planned.start_time >= T0 + timedelta(hours=2)
    assert counted.status.planned.finish_time <= T0 + timedelta(hours=3, minutes=50)


@pytest.mark.parametrize(
    ("now", "found"),
    [
        # In winter Berlin's 22:00 is 21:00 UTC. The night that began yesterday counts at two in the morning.
        (datetime(2026, 1, 2, 2, tzinfo=UTC), [(1, 21, 2, 5), (2, 21, 3, 5)]),
        (datetime(2026, 1, 2, 12, tzinfo=UTC), [(2, 21, 3, 5)]),
    ],
)
def test_hours_of_the_day_are_those_of_the_zone(now, found):
    spec = make_spec(schedule="LatestSafe", cheaperHours=[NIGHT])
    hours = cheap_hours(spec, now, now + timedelta(hours=22))
    spans = [tuple(part for moment in (hour.start, hour.end) for part in day_and_hour(moment)) for hour in hours]
    assert spans == found
    assert {hour.price for hour in hours} == {0.3}


def day_and_hour(seconds):
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.day, moment.hour


def test_a_night_in_which_the_clock_is_set_forward_is_an_hour_shorter():
    spec = make_spec(schedule="LatestSafe", cheaperHours=[NIGHT])
    now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    (hour,) = cheap_hours(spec, now, now + timedelta(hours=20))
    assert hour.end - hour.start == 7 * 3600


def test_a_waiting_job_runs_to_its_end_in_a_world_of_its_own():
    world = SimWorld(total=23)
    spec = make_spec(schedule="LatestSafe", workers={"min": 0, "max": 4})
    world.job = make_job(spec=spec)
    pods, clusters = [], []
    for _ in range(400):
        world.head_comes_up()
        world.work_goes_on()
        world.settle()
        waits = world.reason("Progressing") == "StartPlanned" if world.job.status.conditions else False
        pods.append((waits, len(world.pods)))
        clusters.append((waits, world.cluster is not None))
        world.pass_time(60)
        if world.finished and world.cluster is None:
            break
    assert world.succeeded() == "AllRowsAnswered"
    assert world.job.status.completion_time <= T0 + timedelta(hours=4)
    assert sum(waits and not there for waits, there in clusters) > 100
    assert max(count for waits, count in pods if waits) == 0
    assert world.job.status.completion_time >= T0 + timedelta(hours=3)


# Past the window


def test_with_continue_a_job_works_on_past_its_window_and_says_that_it_is_late():
    job = make_job(spec=make_spec(onDeadline="Continue"), status=running_status())
    seen = {**crew(2), **processing(rows_total=1000, in_flight={"10.0.1.1": 9, "10.0.1.2": 9})}
    late = look(after=timedelta(hours=5), job=job, **seen)
    assert condition(late, ConditionType.WINDOW_AT_RISK) == ("True", "WindowPassed")
    assert "WindowAtRisk" in reasons(late)
    assert late.status.driver.ending_time is None
    assert late.actions[0].replicas == 4, "late is late, and later is worse: all that it may have"
    assert late.status.forecast.meets_window is False
    assert late.status.forecast.chance_percent == 0


def test_without_it_the_window_ends_the_job():
    job = make_job(status=running_status())
    late = look(after=timedelta(hours=5), job=job, **crew(2), **processing(rows_total=1000))
    assert late.status.driver.ending_time is not None


# The boost


def test_a_boost_asks_for_more_workers_while_it_lasts():
    spec = make_spec(workers={"max": 8}, targetCompletion="1h")
    at_work = {"in_flight": {"10.0.1.1": 9, "10.0.1.2": 9}, "rows_total": 7000}
    before = running_status(pool_size=8)
    own = before.measured.model_copy(update={"rows_per_second_per_worker": "1", "rows": 2000, "startup_seconds": 30})
    status = before.model_copy(update={"measured": own.model_copy(update={"startups": 5})})
    team = {"cluster": make_cluster(replicas=2, max_replicas=8), "workers": make_workers(2)}
    plain = make_job(spec=spec, status=status)
    boost = Boost(2.0, T0 + timedelta(minutes=30), "QueueWarning")
    calm = look(job=plain, **team, **processing(**at_work))
    more = look(job=replace(plain, boost=boost), **team, **processing(**at_work))
    over = look(after=timedelta(minutes=31), job=replace(plain, boost=boost), **team, **processing(**at_work))
    without = look(after=timedelta(minutes=31), job=plain, **team, **processing(**at_work))
    assert more.status.workers.desired > calm.status.workers.desired
    assert over.status.workers.desired == without.status.workers.desired
