"""The arithmetic of the demo's figures, and its verdict."""

import io
import math

import pytest
from rich.console import Console

from demo.realtime.crowds import Wave
from demo.realtime.figures import percentile, stretch, tokens_between
from demo.realtime.summary import Told, table, verdict
from demo.realtime.traffic import Answer, Ledger


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0, 1.0, 2.0], 0.5, 2.0), ([1.0, 2.0], 0.5, 1.0), ([1.0], 0.99, 1.0), (range(1, 101), 0.99, 99)],
)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(
    values: list[float], share: float, expected: float
) -> None:
    assert percentile(values, share) == expected


def test_no_values_have_no_percentile() -> None:
    assert math.isnan(percentile([], 0.5))


def test_tokens_count_where_they_came() -> None:
    answers = [Answer(0, 10, 20, 100), Answer(0, 12, 12, 7)]
    assert tokens_between(answers, 0, 100) == 107
    assert tokens_between(answers, 15, 20) == 50
    assert tokens_between(answers, 20, 30) == 0


def test_tokens_of_adjoining_times_add_up() -> None:
    answers = [Answer(0, 3.7, 21.3, 48), Answer(0, 9.9, 10.1, 48), Answer(0, 10, 10, 5)]
    assert tokens_between(answers, 0, 10) + tokens_between(answers, 10, 30) == pytest.approx(101)


def test_a_stretch_has_the_requests_of_its_waves_without_pauses_and_without_failed_ones() -> None:
    first = Wave(1, (Answer(1, 2, 3, 10), Answer(1, 4, 5, 10), Answer(1, 1, 1, 0, fault="x")))
    second = Wave(100, (Answer(100, 105, 108, 28),))
    told = stretch([first, second], 2)
    assert (told.replicas, told.waves, told.requests) == (2, 2, 3)
    assert (told.wave_seconds, told.first_token_p50, told.first_token_p99) == (4, 3, 5)
    assert told.tokens_per_second == 4.0


def test_one_unanswered_request_is_a_failed_demo() -> None:
    good = Answer(0, 1, 2, 3)
    assert verdict(Told(), Ledger([good, good]))[0] == 0
    code, words = verdict(Told(), Ledger([good, Answer(0, 0, 1, 0, fault="APIConnectionError: reset")]))
    assert code == 1
    assert "1 of 2 requests answered" in words
    assert "reset" in words


def test_the_verdict_says_the_figures_that_were_measured() -> None:
    told = Told(decided_seconds=0.61, grown_seconds=44.4, held_seconds=38.25)
    words = verdict(told, Ledger([Answer(0, 1, 2, 3)]))[1]
    assert words == (
        "1 of 1 requests answered; burst to decision 0.6 s, to all replicas 44 s; from zero to an answer 38.2 s"
    )


def test_the_table_has_a_row_for_each_size() -> None:
    slow, quick = Wave(0, (Answer(0, 4, 8, 10),)), Wave(11, (Answer(11, 12, 13, 10),))
    output = io.StringIO()
    told = Told(stretches=[stretch([slow], 1), stretch([quick], 2)])
    Console(file=output, width=100).print(table(told))
    rows = [line.split() for line in output.getvalue().splitlines()[-3:-1]]
    assert [[word for word in row if word not in "│┃s"] for row in rows] == [
        ["1", "1", "1", "8.0", "4.00", "4.00", "1"],
        ["2", "1", "1", "2.0", "1.00", "1.00", "5"],
    ]
