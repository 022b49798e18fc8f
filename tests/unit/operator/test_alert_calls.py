"""What alerts come to: the strongest boost, the same however often and in whatever order they are told."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tidemill_operator.core.alert_calls import LASTING, firing, resolved, settled
from tidemill_operator.core.boost import MOST_FACTOR, Boost

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOW = BEGAN + timedelta(minutes=1)
WARNING = firing("Warning", 1.5, BEGAN)
CRITICAL = firing("Critical", 2.0, BEGAN)

CALLS = st.lists(
    st.builds(
        lambda name, factor, seconds, fires: (
            firing(name, factor, BEGAN + timedelta(seconds=seconds)) if fires else resolved(name)
        ),
        st.sampled_from("abc"),
        st.floats(-1, 5),
        st.integers(-2000, 60),
        st.booleans(),
    ),
    max_size=6,
)
STANDING = st.none() | st.builds(
    lambda factor, seconds, name: Boost(round(factor, 2), BEGAN + timedelta(seconds=seconds), name),
    st.floats(1, MOST_FACTOR),
    st.integers(-100, 2000),
    st.sampled_from("abcd"),
)


def test_an_alert_that_fires_is_a_boost_that_ends_a_while_after_it_began():
    assert settled(None, [WARNING], NOW) == Boost(1.5, BEGAN + LASTING, "Warning")


def test_an_alert_told_again_changes_nothing():
    standing = settled(None, [WARNING], NOW)
    assert settled(standing, [firing("Warning", 1.5, BEGAN)], NOW + timedelta(minutes=4)) == standing


def test_the_stronger_of_two_alerts_counts_and_stays_when_the_weaker_is_resolved():
    standing = settled(settled(None, [WARNING], NOW), [CRITICAL], NOW)
    assert standing is not None
    assert standing.alert == "Critical"
    assert settled(standing, [resolved("Warning")], NOW) == standing


def test_a_boost_goes_with_its_alert():
    assert settled(settled(None, [WARNING], NOW), [resolved("Warning")], NOW) is None


def test_an_alert_that_goes_on_firing_boosts_no_more_once_its_time_is_over():
    later = BEGAN + LASTING
    assert settled(settled(None, [WARNING], NOW), [WARNING], later) is None


def test_an_alert_that_takes_the_place_of_a_resolved_one_of_its_name_goes_on_boosting():
    """As after a restart of the operator, which changes the labels `pod` and `instance`."""
    standing = settled(None, [WARNING], NOW)
    later = NOW + timedelta(minutes=3)
    anew = firing("Warning", 1.5, later)
    assert settled(standing, [resolved("Warning"), anew], later) == anew.boost
    assert settled(None, [anew, resolved("Warning")], later) == anew.boost


@given(STANDING, CALLS, st.randoms())
def test_order_and_repeats_make_no_difference(standing, calls, random):
    once = settled(standing, calls, NOW)
    shuffled = calls * 2
    random.shuffle(shuffled)
    assert settled(standing, shuffled, NOW) == once
    assert settled(once, calls, NOW) == once


@given(STANDING, CALLS)
def test_no_boost_is_above_its_bound_or_lasts_longer_than_its_alert_allows(standing, calls):
    boost = settled(standing, calls, NOW)
    if boost is not None and boost != standing:
        assert 1.0 < boost.factor_at(NOW) <= MOST_FACTOR
        assert boost.until <= BEGAN + timedelta(seconds=60) + LASTING
