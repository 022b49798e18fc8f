"""Samples become a load: each replica once, nothing stale, nothing older than the last change of size."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from unit.operator.builders import T0

from tidemill_operator.core.endpoint.load import STALE_AFTER, IngressSample, Load, load_of

SECOND = timedelta(seconds=1)


def sample(replica="a", *, ago=0.0, waiting=0, running=0, oldest=0.0):
    return IngressSample(replica, T0 - timedelta(seconds=ago), waiting, running, oldest)


def test_replicas_are_summed_and_the_oldest_of_all_is_the_oldest():
    load = load_of(
        [sample("a", waiting=2, running=3, oldest=1.5), sample("b", ago=1, waiting=1, running=4, oldest=4.0)], "ab", T0
    )
    assert (load.waiting, load.running, load.depth, load.complete) == (3, 7, 10, True)
    assert (load.oldest_seconds, load.oldest_arrival) == (4.0, T0 - 5 * SECOND)
    assert load.time == T0 - SECOND


def test_a_replica_counts_once_by_its_newest_sample():
    samples = [sample(ago=2, running=9), sample(ago=1, running=4), sample(ago=3, running=7)]
    assert load_of(samples, "a", T0) == load_of([samples[1]], "a", T0)


def test_a_replica_that_is_gone_counts_no_more():
    load = load_of([sample("a", running=1), sample("gone", waiting=50, oldest=9)], "a", T0)
    assert (load.depth, load.oldest_seconds, load.complete) == (1, 0.0, True)


def test_what_a_leaving_replica_has_answered_does_not_come_and_go_with_its_silence():
    staying, leaving = (IngressSample(name, T0, 1, 0, 1.0, answered=10, unanswered=5) for name in ("a", "leaving"))
    heard = load_of([staying, leaving], "a", T0, leaving=["leaving"])
    silent = load_of([staying], "a", T0, leaving=["leaving"])
    assert (heard.answered, heard.unanswered) == (silent.answered, silent.unanswered) == (10, 5)


def test_what_a_leaving_replica_holds_counts_and_its_silence_is_no_gap():
    load = load_of(
        [sample("a", running=1), sample("leaving", waiting=2, oldest=9)], "a", T0, leaving=["leaving", "mute"]
    )
    assert (load.depth, load.oldest_seconds, load.complete) == (3, 9.0, True)
    assert not load_of([sample("leaving")], "a", T0, leaving=["leaving"]).complete, (
        "nor does it stand for one that runs"
    )


def test_a_silent_replica_makes_the_load_incomplete():
    load = load_of([sample("a", running=1)], "ab", T0)
    assert (load.depth, load.complete) == (1, False)


def test_a_stale_sample_is_none():
    fresh, stale = STALE_AFTER.total_seconds(), STALE_AFTER.total_seconds() + 0.1
    assert load_of([sample(ago=fresh, running=1)], "a", T0).complete
    assert load_of([sample(ago=stale, running=1)], "a", T0) == Load()


def test_a_sample_from_before_the_last_change_of_size_does_not_count():
    assert load_of([sample(ago=1, running=1)], "a", T0, changed=T0 - SECOND) == Load()
    assert load_of([sample(ago=0.9, running=1)], "a", T0, changed=T0 - SECOND).complete


def test_a_change_that_is_still_to_come_hides_no_sample():
    """It was written by a clock that has been set back since, or by another machine's."""
    assert load_of([sample(ago=1, running=1)], "a", T0, changed=T0 + 300 * SECOND).complete


def test_no_replica_at_all_is_no_calm():
    assert load_of([], "", T0) == Load(complete=False)


def test_an_age_without_a_waiting_request_is_none():
    load = load_of([sample(running=3, oldest=77.0)], "a", T0)
    assert (load.oldest_seconds, load.oldest_arrival) == (0.0, None)


SAMPLES = st.lists(
    st.builds(
        lambda replica, ago, waiting, running, oldest: sample(
            replica, ago=ago, waiting=waiting, running=running, oldest=oldest
        ),
        st.sampled_from("abcd"),
        st.floats(0, 10),
        st.integers(0, 99),
        st.integers(0, 99),
        st.floats(0, 99),
    ),
    max_size=12,
)
REPLICAS = st.sets(st.sampled_from("abcd"))


@given(SAMPLES.map(lambda samples: list({(s.replica, s.time): s for s in samples}.values())), REPLICAS)
def test_a_load_is_never_more_than_the_newest_samples_say(samples, replicas):
    load = load_of(samples, replicas, T0)
    newest = {s.replica: s for s in sorted(samples, key=lambda s: s.time)}
    assert load.depth <= sum(s.waiting + s.running for s in newest.values())
    if load.complete:
        assert replicas
        assert replicas <= newest.keys()


@given(SAMPLES, REPLICAS, st.randoms())
def test_the_order_of_samples_means_nothing(samples, replicas, order):
    distinct = list({(s.replica, s.time): s for s in samples}.values())
    shuffled = list(distinct)
    order.shuffle(shuffled)
    assert load_of(distinct, replicas, T0) == load_of(shuffled, replicas, T0)
