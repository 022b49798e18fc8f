"""A boost is bounded, fades to nothing, and what is no boost changes nothing."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tidemill_operator.core.boost import FADE, MOST_FACTOR, Boost, read_boost

UNTIL = datetime(2026, 1, 1, 12, tzinfo=UTC)
BOOST = Boost(1.5, UNTIL, "TidemillQueueCritical")


def test_a_boost_survives_its_annotation():
    assert read_boost(BOOST.to_annotation()) == BOOST


def test_a_boost_is_whole_at_first_then_fades_evenly_and_is_nothing_at_its_end():
    moments = (UNTIL - timedelta(hours=1), UNTIL - FADE, UNTIL - FADE / 2, UNTIL, UNTIL + timedelta(hours=1))
    assert [BOOST.factor_at(moment) for moment in moments] == [1.5, 1.5, 1.25, 1.0, 1.0]


@pytest.mark.parametrize(("said", "read"), [(100, MOST_FACTOR), (2, 2.0), (0.1, 1.0), (-3, 1.0)])
def test_a_factor_is_brought_within_the_bound(said, read):
    annotation = json.dumps({"factor": said, "until": "2026-01-01T12:00:00Z"})
    assert read_boost(annotation) == Boost(read, UNTIL, "")


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        "",
        "more",
        "[]",
        "2",
        '{"factor": 2}',
        '{"factor": "two", "until": "2026-01-01T12:00:00Z"}',
        '{"factor": NaN, "until": "2026-01-01T12:00:00Z"}',
        '{"factor": 2, "until": "2026-01-01T12:00:00"}',
        '{"factor": 2, "until": 5}',
        '{"factor": [2], "until": "2026-01-01T12:00:00Z"}',
    ],
)
def test_what_is_no_boost_is_none(annotation):
    assert read_boost(annotation) is None
