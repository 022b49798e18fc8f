"""What arrives at an endpoint and what it answers in a second, and when its queue will never clear."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from unit.operator.builders import T0
from unit.operator.endpoint_queue import law

from tidemill_api import endpoint_contract as contract
from tidemill_api.v1alpha1.realtime_endpoint_status import EndpointQueueStatus, RealtimeEndpointStatus
from tidemill_operator.core.endpoint.load import Load
from tidemill_operator.core.endpoint.rates import Rates, full_since, rates_after
from tidemill_operator.core.endpoint.status import QUEUE_REFRESH, queue, settled
from tidemill_operator.endpoint_figures import read_ingress


def after(looks, *, every=5, start=None):
    """The status of the queue after looks of (answered in all, depth, oldest age), so many seconds apart."""
    status, now = EndpointQueueStatus(), T0
    for answered, depth, age in looks:
        load = Load(waiting=depth, oldest_seconds=age, complete=True, answered=answered)
        status = queue(rates_after(status, load, now), law(), now, start)
        now += timedelta(seconds=every)
    return status


def steady(arrivals, answers, *, looks=60, age=5.0):
    """Looks at so many arrivals and answers a second, five seconds apart."""
    return [(5 * answers * n, 5 * (arrivals - answers) * n, age) for n in range(looks)]


def test_rates_come_to_what_arrives_and_is_answered():
    status = after(steady(12, 8))
    assert float(status.arrived_per_second) == pytest.approx(12, rel=0.02)
    assert float(status.completed_per_second) == pytest.approx(8, rel=0.02)


def test_a_queue_without_requests_comes_to_rest():
    looks = [*steady(8, 8), *[(5 * 8 * 59, 0, 0.0)] * 120]
    assert (after(looks).arrived_per_second, after(looks).completed_per_second) == ("0", "0")


def test_more_arrivals_than_all_replicas_answer_never_clear():
    status = after(steady(12, 8), start=T0)
    assert (status.health, status.reason) == ("Warning", "NeverClears")


def test_an_endpoint_that_may_still_grow_says_no_such_thing():
    assert after(steady(12, 8)).reason != "NeverClears"


def test_an_endpoint_whose_last_replica_has_just_begun_says_no_such_thing():
    assert after(steady(12, 8), start=T0 + timedelta(seconds=240)).reason != "NeverClears"


def test_an_endpoint_that_keeps_up_says_no_such_thing():
    assert after(steady(8, 8, age=2.5), start=T0).reason == "WithinTarget"


def test_what_is_answered_under_a_light_load_is_no_bound():
    assert after(steady(2, 1, age=0.5), start=T0).reason == "WithinTarget"


def test_counts_that_fell_keep_the_rates():
    before = after(steady(12, 8))
    gone = Load(waiting=3, complete=True, answered=10)
    rates = rates_after(before, gone, before.observed_time + timedelta(seconds=5))
    assert rates.arrived == float(before.arrived_per_second)
    assert rates.completed == float(before.completed_per_second)


def test_a_load_that_is_not_complete_keeps_the_rates():
    before = after(steady(12, 8))
    rates = rates_after(before, Load(answered=10**6), before.observed_time + timedelta(seconds=5))
    assert rates.completed == float(before.completed_per_second)


@pytest.mark.parametrize(("age", "reason"), [(0.5, "SourceMissing"), (5.0, "TwiceTarget"), (9.0, "ThriceTarget")])
@pytest.mark.parametrize("looks", [1, 3])
def test_a_replica_that_was_silent_for_a_while_is_no_burst(age, reason, looks):
    before = after(steady(8, 8, age=age))
    silent, now = before, before.observed_time
    for _ in range(looks):
        now += timedelta(seconds=5)
        partial = Load(waiting=3, oldest_seconds=age, answered=100)
        silent = queue(rates_after(silent, partial, now), law(), now, T0)
    assert (silent.reason, silent.answered) == (reason, before.answered)
    assert silent.counted_time == before.observed_time
    now += timedelta(seconds=5)
    back = Load(waiting=before.depth, oldest_seconds=age, complete=True, answered=before.answered + 40 * (looks + 1))
    rates = rates_after(silent, back, now)
    assert rates.arrived == float(before.arrived_per_second)
    assert queue(rates, law(), now, T0).reason != "NeverClears"
    later = now + timedelta(seconds=5)
    again = Load(waiting=before.depth, oldest_seconds=age, complete=True, answered=back.answered + 40)
    assert rates_after(queue(rates, law(), now, T0), again, later).completed == pytest.approx(8, rel=0.02)


def test_figures_that_stay_are_not_written_again_and_a_replica_that_falls_silent_is():
    def look(load, before, seconds):
        now = T0 + timedelta(seconds=seconds)
        return RealtimeEndpointStatus(queue=queue(rates_after(before.queue, load, now), law(), now))

    late = Load(waiting=3, oldest_seconds=5.0, complete=True, answered=100)
    first = look(late, RealtimeEndpointStatus(), 0)
    after = QUEUE_REFRESH.total_seconds() + 1
    assert settled(look(late, first, after), first) == first
    silent = look(Load(waiting=3, oldest_seconds=5.0, answered=60), first, after)
    assert silent.queue.reason == first.queue.reason
    assert settled(silent, first) == silent


def test_all_replicas_answer_since_the_last_one_began():
    assert full_since(3, 3, T0) == T0
    assert full_since(2, 3, T0) is None


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**4), st.floats(0, 1e4)), max_size=20))
def test_any_looks_give_a_status_that_the_api_takes(looks):
    status = after(looks, start=T0 - timedelta(hours=1))
    assert EndpointQueueStatus.model_validate_json(status.model_dump_json(by_alias=True)) == status


def test_a_missing_source_never_says_that_a_queue_clears():
    blind = queue(Rates(Load(oldest_seconds=9.0), 12.0, 8.0), law(), T0, T0 - timedelta(hours=1))
    assert blind.reason != "WithinTarget"


def test_requests_that_ended_are_told_apart_by_what_they_say_of_the_load():
    registry, tags = CollectorRegistry(), {"endpoint": "team/chat", "revision": "r1", "replica": "abc"}
    for name in (contract.METRIC_WAITING, contract.METRIC_RUNNING, contract.METRIC_OLDEST_WAITING):
        Gauge(name, "text", [*tags], registry=registry).labels(**tags).set(1)
    ended = Counter(contract.METRIC_REQUESTS, "text", [*tags, "code"], registry=registry)
    for code, count in {"200": 7, "204": 1, "400": 50, "401": 50, "408": 2, "429": 3, "499": 4, "503": 5}.items():
        ended.labels(**tags, code=code).inc(count)
    sample = read_ingress(generate_latest(registry).decode(), "team/chat", "r1", T0)
    assert (sample.answered, sample.unanswered) == (8, 14)
