"""The scaling law of endpoints: tables, properties, and ten minutes of load on a queue that batches."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.operator.builders import T0
from unit.operator.endpoint_queue import Endpoint, law

from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
from tidemill_operator.core.endpoint.law import BACKLOG_AGES, MARGIN, Law, Memory, Size, Why, next_size
from tidemill_operator.core.endpoint.load import Load

SECOND = timedelta(seconds=1)
LONG_AGO = T0 - timedelta(hours=1)


def a_load(depth=0, *, oldest=0.0, complete=True, waiting=None):
    waiting = (1 if oldest else 0) if waiting is None else waiting
    arrival = T0 - timedelta(seconds=oldest) if oldest else None
    return Load(waiting, depth - waiting, oldest, arrival, complete, T0)


def size_for(load, size, memory=None, now=T0, **fields):
    return next_size(load, size, law(**fields), memory or Memory(), now)


# Up by depth


@pytest.mark.parametrize(
    ("depth", "wanted", "becomes"),
    [
        (0, 1, 1),
        (10, 1, 1),
        (11, 1, 1),  # within the tolerance
        (12, 1, 2),
        (100, 1, 10),  # one jump
        (1000, 1, 20),  # never above the most
        (33, 3, 3),
        (34, 3, 4),
        (45, 3, 5),
        (1, 0, 1),  # from zero there is no tolerance
        (25, 0, 3),
    ],
)
def test_depth_gives_the_size_in_one_jump(depth, wanted, becomes):
    sized = size_for(a_load(depth, waiting=depth), Size(wanted, wanted), least=0)
    assert sized.replicas == becomes
    assert sized.why == (Why.DEPTH if becomes > wanted else Why.HELD)


def test_replicas_that_are_starting_count_as_capacity():
    assert size_for(a_load(100), Size(10, 1)).replicas == 10
    assert size_for(a_load(100, oldest=60.0), Size(10, 1)).replicas == 10


def test_no_more_than_allowed_start_at_a_time():
    assert size_for(a_load(100), Size(1, 1), max_starting=2).replicas == 3
    assert size_for(a_load(100), Size(3, 1), max_starting=2).replicas == 3
    assert size_for(a_load(100), Size(3, 2), max_starting=2).replicas == 4


def test_missing_figures_do_not_keep_it_from_growing():
    assert size_for(a_load(50, complete=False), Size(1, 1)).replicas == 5


# Up by age


@pytest.mark.parametrize(
    ("oldest", "wanted", "becomes"),
    [
        (1.9, 4, 4),
        (2.0, 4, 4),
        (2.1, 4, 5),  # a little too old: one more
        (3.0, 4, 6),  # half as much again
        (60.0, 4, 8),  # at most twice as many
        (2.1, 15, 15 + 1),
        (60.0, 15, 20),  # never above the most
    ],
)
def test_age_corrects_what_depth_does_not_see(oldest, wanted, becomes):
    sized = size_for(a_load(30, oldest=oldest), Size(wanted, wanted), Memory(last_start=LONG_AGO))
    assert sized.replicas == becomes
    assert sized.why == (Why.AGE if becomes > wanted else Why.HELD)


@pytest.mark.parametrize(("depth", "wanted", "becomes"), [(1, 1, 1), (2, 1, 2), (5, 4, 5), (4, 4, 4), (3, 8, 8)])
def test_age_never_asks_for_more_replicas_than_there_are_requests(depth, wanted, becomes):
    """A request that is slow by itself is not made quicker by a replica that has none."""
    assert size_for(a_load(depth, oldest=60.0), Size(wanted, wanted)).replicas == becomes


def test_a_request_that_came_before_the_last_replica_began_says_nothing_about_it():
    just_started = Memory(last_start=T0 - 5 * SECOND)
    assert size_for(a_load(9, oldest=30.0), Size(4, 4), just_started).replicas == 4
    assert size_for(a_load(9, oldest=4.0), Size(4, 4), just_started).replicas == 8


def test_a_backlog_that_is_not_worked_off_is_no_excuse_for_ever():
    """One request that an engine never answers hides how long all others wait."""
    started = Memory(last_start=T0)
    within = BACKLOG_AGES * 2 * SECOND
    for since, becomes in ((within, 4), (within + SECOND, 8)):
        load = replace(a_load(30, oldest=300.0), oldest_arrival=T0 - 300 * SECOND)
        assert size_for(load, Size(4, 4), started, T0 + since).replicas == becomes


def test_a_start_that_is_still_to_come_says_nothing():
    """The clock was set back since it was written."""
    assert size_for(a_load(30, oldest=60.0), Size(4, 4), Memory(last_start=T0 + 300 * SECOND)).replicas == 8


def test_a_replica_that_is_stuck_keeps_no_other_from_starting():
    assert size_for(a_load(100), Size(2, 1, stuck=1), max_starting=1).replicas == 3
    assert size_for(a_load(20, oldest=60.0), Size(2, 1, stuck=1)).replicas == 4


def test_the_larger_of_depth_and_age_counts():
    assert size_for(a_load(200, oldest=2.1), Size(4, 4)).replicas == 20
    assert size_for(a_load(46, oldest=60.0), Size(4, 4)).replicas == 8


# Down


CALM = Memory(lower_since=T0 - timedelta(seconds=300), lower_peak=2)


def test_it_shrinks_after_the_stabilization_to_the_most_that_was_needed_in_it():
    assert size_for(a_load(3), Size(8, 8), CALM).replicas == 2
    assert size_for(a_load(3), Size(8, 8), replace(CALM, lower_since=T0 - timedelta(seconds=299))).replicas == 8


def test_the_most_that_was_needed_is_kept_meanwhile():
    memory = Memory()
    for second, depth in enumerate((8, 30, 8, 8)):
        sized = size_for(a_load(depth), Size(8, 8), memory, T0 + second * SECOND)
        memory = sized.memory
    assert (memory.lower_since, memory.lower_peak) == (T0, 4)  # 30 / (10 * 0.8), rounded up


def test_a_size_that_is_needed_again_begins_the_stabilization_anew():
    sized = size_for(a_load(62), Size(8, 8), CALM)
    assert (sized.replicas, sized.memory.lower_since) == (8, None)


def test_it_shrinks_by_steps_where_told_so():
    sized = size_for(a_load(3), Size(8, 8), CALM, max_step_down=1)
    assert sized.replicas == 7
    assert sized.memory.lower_since is None


@pytest.mark.parametrize(("depth", "becomes"), [(9, 8), (8, 8), (3, 3), (1, 2)])
def test_while_a_request_waits_too_long_it_keeps_a_replica_for_each(depth, becomes):
    starting = Size(8, 7)  # so that age alone asks for no more
    assert size_for(a_load(depth, oldest=2.5), starting, CALM).replicas == becomes


def test_missing_figures_freeze_it_and_begin_the_stabilization_anew():
    sized = size_for(a_load(0, complete=False), Size(8, 8), CALM)
    assert (sized.replicas, sized.why) == (8, Why.HELD)
    assert sized.memory.lower_since is None
    assert size_for(a_load(0, complete=False), Size(1, 1), Memory(idle_since=LONG_AGO), least=0).replicas == 1


@pytest.mark.parametrize(("wanted", "least", "most", "becomes"), [(8, 1, 4, 4), (0, 2, 4, 2), (1, 3, 3, 3)])
def test_changed_bounds_count_at_once_whatever_is_known_of_the_load(wanted, least, most, becomes):
    sized = size_for(a_load(0, complete=False), Size(wanted, wanted), least=least, most=most)
    assert (sized.replicas, sized.why) == (becomes, Why.BOUNDS)


# Zero


def test_it_goes_to_zero_after_the_delay_without_a_request_and_wakes_with_the_first():
    idle = Memory(idle_since=T0 - timedelta(seconds=600))
    assert size_for(a_load(0), Size(1, 1), idle, least=0).replicas == 0
    assert size_for(a_load(0), Size(3, 3), idle, least=0).replicas == 0
    assert size_for(a_load(0), Size(1, 1), replace(idle, idle_since=T0 - 599 * SECOND), least=0).replicas == 1
    assert size_for(a_load(0), Size(1, 1), idle, least=1).replicas == 1
    assert size_for(a_load(1, waiting=1), Size(0, 0), idle, least=0).replicas == 1


def test_one_request_begins_the_delay_anew():
    idle = Memory(idle_since=LONG_AGO)
    sized = size_for(a_load(1), Size(1, 1), idle, least=0)
    assert (sized.replicas, sized.memory.idle_since) == (1, None)


def test_idle_is_remembered_from_its_first_moment():
    first = size_for(a_load(0), Size(1, 1), least=0).memory
    later = size_for(a_load(0), Size(1, 1), first, T0 + 9 * SECOND, least=0).memory
    assert first.idle_since == later.idle_since == T0


# Properties

DEPTHS = st.integers(0, 10_000)
AGES = st.one_of(st.just(0.0), st.floats(0.01, 3600))
LAWS = st.builds(
    lambda least, extra, depth, age, step, starting: law(
        least=least,
        most=max(least + extra, 1),
        target_depth=depth,
        target_age_seconds=age,
        max_step_down=step,
        max_starting=starting,
    ),
    st.integers(0, 5),
    st.integers(0, 100),
    st.integers(1, 200),
    st.floats(0.1, 60),
    st.none() | st.integers(1, 5),
    st.none() | st.integers(1, 5),
)
MOMENTS = st.none() | st.integers(0, 4000).map(lambda seconds: T0 - timedelta(seconds=seconds))
MEMORIES = st.builds(Memory, MOMENTS, MOMENTS, st.integers(0, 100), MOMENTS)
SIZES = st.tuples(st.integers(0, 120), st.integers(0, 120)).map(lambda pair: Size(max(pair), min(pair)))


@st.composite
def loads(draw, complete=None):
    depth = draw(DEPTHS)
    waiting = draw(st.integers(0, depth))
    oldest = draw(AGES) if waiting else 0.0
    whole = draw(st.booleans()) if complete is None else complete
    return Load(waiting, depth - waiting, oldest, T0 - timedelta(seconds=oldest) if waiting else None, whole, T0)


@given(loads(), SIZES, LAWS, MEMORIES)
def test_the_size_is_always_within_the_bounds(load, size, of_law, memory):
    sized = next_size(load, size, of_law, memory, T0)
    lowest = 0 if of_law.least == 0 else of_law.least
    assert lowest <= sized.replicas <= of_law.most


@given(loads(complete=False), SIZES, LAWS, MEMORIES)
def test_it_never_shrinks_blindly_but_to_the_most(load, size, of_law, memory):
    assert next_size(load, size, of_law, memory, T0).replicas >= min(size.wanted, of_law.most)


@given(loads(complete=True), SIZES, LAWS, MEMORIES)
def test_it_never_goes_to_zero_with_a_request(load, size, of_law, memory):
    sized = next_size(load, size, of_law, memory, T0)
    assert sized.replicas > 0 or load.depth == 0


@given(loads(), SIZES, LAWS, MEMORIES)
def test_it_never_shrinks_before_the_stabilization_is_over(load, size, of_law, memory):
    size = Size(of_law.clamp(size.wanted), min(size.running, of_law.clamp(size.wanted)))
    sized = next_size(load, size, of_law, memory, T0)
    if sized.replicas < size.wanted and sized.why is Why.CALM:
        assert T0 - memory.lower_since >= of_law.stabilization
        assert size.wanted - sized.replicas <= (of_law.max_step_down or 1000)
        assert sized.replicas >= min(memory.lower_peak, size.wanted)


@given(loads(complete=True), SIZES, LAWS, st.integers(1, 5000))
def test_more_requests_never_want_fewer_replicas(load, size, of_law, more):
    busier = replace(load, running=load.running + more)
    assert (
        next_size(busier, size, of_law, Memory(), T0).replicas >= next_size(load, size, of_law, Memory(), T0).replicas
    )


@given(loads(), SIZES, LAWS, MEMORIES)
def test_a_size_put_into_force_is_not_taken_back_by_the_same_load(load, size, of_law, memory):
    """The same figures after the replicas have started: nothing more up, and nothing down before a stabilization."""
    once = next_size(load, size, of_law, memory, T0)
    later = replace(once.memory, last_start=T0)
    again = next_size(load, Size(once.replicas, once.replicas), of_law, later, T0 + SECOND)
    if once.why in (Why.DEPTH, Why.AGE) and of_law.max_starting is None:
        assert again.replicas == once.replicas


@given(st.integers(1, 40), st.lists(st.floats(-1, 1), min_size=20, max_size=300), st.integers(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_load_that_sways_by_less_than_the_band_never_makes_it_turn(mean_replicas, noise, stabilization):
    """11 % to both sides is within 1 / (1 - MARGIN): even without stabilization it only ever grows."""
    assert 1 / (1 - MARGIN) > 1.11 / 0.89
    of_law = law(most=100, target_depth=100, stabilization=timedelta(seconds=stabilization))
    wanted, memory, sizes = 1, Memory(), []
    for second, sway in enumerate(noise):
        depth = round(100 * mean_replicas * (1 + 0.11 * sway))
        sized = next_size(a_load(depth), Size(wanted, wanted), of_law, memory, T0 + second * SECOND)
        wanted, memory = sized.replicas, sized.memory
        sizes.append(wanted)
    assert sizes == sorted(sizes)


# Ten minutes on a queue


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_ten_minutes_of_noisy_load_do_not_make_it_flap(seed):
    """9 requests a second of 4 s each, give or take a third: 36 in flight, 3 replicas of 12."""
    noise = random.Random(seed)
    endpoint = Endpoint(law(target_depth=12), wanted=3, ready_at=[0] * 3)
    for _ in range(600):
        endpoint.tick(max(round(noise.gauss(9, 3)), 0))
    assert endpoint.turns() <= 1, endpoint.sizes
    assert len(endpoint.sizes) <= 4, endpoint.sizes
    assert max(size for _, size in [(0, 3), *endpoint.sizes]) <= 6, endpoint.sizes


@pytest.mark.parametrize("startup", [1, 5, 20])
def test_a_step_of_the_load_is_answered_before_the_target_age_is_three_seconds_past(startup):
    endpoint = Endpoint(law(target_depth=16), service=4, slots=16, startup=startup)
    for _ in range(60):
        endpoint.tick(2)
    assert endpoint.sizes == []
    crossed, deepest = None, 0
    for _ in range(120):
        endpoint.tick(16)
        oldest = endpoint.second - endpoint.queue[0] if endpoint.queue else 0
        deepest = max(deepest, len(endpoint.queue) + len(endpoint.running))
        crossed = crossed or (endpoint.second if oldest > 2 else None)
    assert endpoint.sizes[0][0] <= 61 + 1
    assert crossed is None or endpoint.sizes[0][0] <= crossed + 3
    assert endpoint.turns() == 0
    assert not endpoint.queue, "what had queued is worked off"
    assert 4 <= endpoint.wanted <= -(-deepest // 16), "never more than the depth asks for"


def test_requests_longer_than_the_target_depth_takes_them_to_be_are_seen_by_their_age():
    """32 wait and run where the target says 40: depth is content, but an engine of 8 slots is not enough."""
    endpoint = Endpoint(law(target_depth=40), slots=8, service=8, startup=5)
    for _ in range(240):
        endpoint.tick(3)
    assert Why.AGE in endpoint.whys
    assert endpoint.wanted >= 3
    assert endpoint.wanted <= 8, endpoint.sizes
    assert endpoint.turns() == 0


def test_requests_that_are_slow_by_themselves_do_not_run_away_with_the_size():
    """One or three at a time, each 5 s to its first token where the target says 2: nothing that a replica mends."""
    for at_once in (1, 3):
        endpoint = Endpoint(law(most=1000, target_depth=32), startup=60)
        for second in range(3600):
            endpoint.tick_slow(at_once, age=second % 5 + 0.9)
        assert endpoint.wanted <= at_once, endpoint.sizes
        assert endpoint.turns() <= 1, endpoint.sizes


def test_it_sleeps_and_wakes():
    endpoint = Endpoint(law(least=0, to_zero_after=timedelta(seconds=60)))
    for _ in range(62):
        endpoint.tick(0)
    assert endpoint.wanted == 0
    decided = endpoint.tick(3)
    assert (decided.replicas, decided.why) == (1, Why.DEPTH)
    for _ in range(40):
        endpoint.tick(0)
    assert endpoint.queue == [], "what was held is answered"
    assert endpoint.wanted == 1


def test_a_burst_that_is_over_is_paid_for_at_most_twice_the_stabilization():
    endpoint = Endpoint(law())
    for _ in range(30):
        endpoint.tick(20)
    assert endpoint.wanted > 4
    for _ in range(2 * 300 + 30):
        endpoint.tick(1)
    assert endpoint.wanted == 1
    assert endpoint.turns() == 1


def test_an_hour_without_figures_changes_nothing():
    endpoint = Endpoint(law(), wanted=5, ready_at=[0] * 5)
    for _ in range(3600):
        endpoint.tick(1, blind=True)
    assert endpoint.sizes == []


def test_the_law_is_read_from_the_spec():
    spec = RealtimeEndpointSpec.model_validate(
        {
            "model": {"name": "m", "source": "a/b"},
            "replicas": {"min": 0, "max": 7},
            "scaling": {
                "targetQueueDepth": 9,
                "targetQueueAgeMilliseconds": 1500,
                "scaleUp": {"maxStarting": 3},
                "scaleDown": {"stabilizationSeconds": 60, "maxStep": 2},
                "scaleToZeroAfterSeconds": 30,
            },
        }
    )
    assert Law.of(spec) == Law(0, 7, 9, 1.5, timedelta(seconds=60), timedelta(seconds=30), 2, 3)
