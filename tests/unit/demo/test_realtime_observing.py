"""What the demo sees of an endpoint, and what it shows of it."""

import asyncio
import io
import time
from typing import Any

import pytest
from rich.console import Console

from demo.realtime.display import Board, clock
from demo.realtime.observing import Gauges, Moment, Seen, Timeline, observe, sum_up
from demo.realtime.plot import MOST_TICKS, draw, tick_seconds
from demo.realtime.traffic import Answer, Ledger


def endpoint(wanted: int, answering: int, progressing: tuple[str, str], ready: str = "True") -> dict[str, Any]:
    status, reason = progressing
    return {
        "status": {
            "replicas": wanted,
            "readyReplicas": answering,
            "queue": {"health": "Warning"},
            "conditions": [
                {"type": "Progressing", "status": status, "reason": reason, "message": "words [of it]"},
                {"type": "Ready", "status": ready, "reason": "Serving", "message": ""},
            ],
        }
    }


def test_an_endpoint_without_status_is_pending_and_nothing_to_mend() -> None:
    seen = observe({})
    assert (seen.wanted, seen.answering, seen.ready, seen.awaits_mending) == (0, 0, False, False)
    assert seen.condition("Progressing").reason == "Pending"


@pytest.mark.parametrize(
    ("progressing", "ready", "mend"),
    [
        (("False", "ModelNotFound"), "False", True),
        (("False", "SecretNotFound"), "False", True),
        (("True", "ReplicasStarting"), "False", False),
        (("Unknown", "RayUnreachable"), "False", False),
        (("False", "Settled"), "True", False),
        (("False", "RevisionLate"), "True", False),
    ],
)
def test_what_a_person_has_to_mend_is_told_from_what_comes_by_itself(
    progressing: tuple[str, str], ready: str, mend: bool
) -> None:
    assert observe(endpoint(1, 0, progressing, ready)).awaits_mending is mend


HEAD = """
# TYPE tidemill_endpoint_requests_waiting gauge
tidemill_endpoint_requests_waiting{endpoint="default/chat",replica="a"} 3.0
tidemill_endpoint_requests_running{endpoint="default/chat",replica="a"} 1.0
tidemill_endpoint_oldest_waiting_seconds{endpoint="default/chat",replica="a"} 1.5
tidemill_engine_requests_waiting{endpoint="default/chat",replica="x"} 3.0
"""


def test_gauges_of_pods_are_summed_and_the_oldest_of_all_counts() -> None:
    other = HEAD.replace('"a"', '"b"').replace(" 1.5", " 4.5")
    assert sum_up([HEAD, other]) == Gauges(waiting=6, running=2, oldest_seconds=4.5)
    assert sum_up([]) == Gauges()


def test_the_first_version_that_fits_tells_when() -> None:
    timeline = Timeline([(1.0, Seen(wanted=2)), (5.0, Seen(wanted=1)), (9.0, Seen(wanted=2))])
    assert timeline.first_time(2.0, lambda seen: seen.wanted == 2) == 9.0
    assert timeline.first_time(2.0, lambda seen: seen.wanted == 3) is None


def test_the_version_of_a_time_is_the_newest_before_it() -> None:
    timeline = Timeline([(1.0, Seen(wanted=2)), (5.0, Seen(wanted=1))])
    assert [timeline.seen_at(time).wanted for time in (0.5, 1.0, 4.9, 5.0, 100.0)] == [0, 2, 2, 1, 1]


def board() -> Board:
    seen = observe(endpoint(2, 1, ("True", "ReplicasStarting")))
    now = time.monotonic()
    timeline = Timeline([(now, seen)], [Moment(now, seen, Gauges(24, 16, 3.5))])
    return Board(timeline, Ledger([Answer(now - 2, now - 1, now, 10)]), 2.0)


def test_a_person_sees_replicas_depth_age_health_and_conditions() -> None:
    output = io.StringIO()
    Console(file=output, width=140, color_system=None).print(board())
    shown = output.getvalue()
    for word in ("replicas wanted", "24", "16", "3.5 s", "2 s", "Warning", "ReplicasStarting", "words [of it]"):
        assert word in shown


async def test_a_log_gets_a_line_for_each_move_of_the_replicas() -> None:
    shown = board()
    output = io.StringIO()
    async with shown.shown(Console(file=output, width=140), "a burst"):
        await asyncio.sleep(0.4)
        shown.timeline.versions.append((0.0, observe(endpoint(2, 2, ("False", "Settled")))))
        await asyncio.sleep(0.4)
    lines = [line for line in output.getvalue().splitlines() if "replicas" in line]
    assert [line.split("replicas ")[1].split()[0] for line in lines] == ["1/2", "2/2"]
    assert "depth 40 (24 waiting)  oldest 3.5 s" in lines[0]
    assert "words [of it]" in output.getvalue()


def test_the_plot_shows_all_three_over_one_axis() -> None:
    moments = [Moment(100.0 + t, Seen(1 if t < 60 else 2, 1), Gauges(t % 30, 0, t / 30)) for t in range(200)]
    drawn = draw(moments, 80)
    for words in ("replicas wanted", "requests waiting and running", "age of the oldest waiting request", "180"):
        assert words in drawn
    assert drawn.count("█") > 20
    assert draw(moments[:1], 80) == ""


@pytest.mark.parametrize("seconds", [1, 99, 301, 700, 5000, 100_000])
def test_an_axis_has_few_round_ticks(seconds: int) -> None:
    assert seconds / tick_seconds(seconds) <= MOST_TICKS


def test_time_is_told_as_a_clock() -> None:
    assert [clock(seconds) for seconds in (0.4, 65, 600)] == ["0:00", "1:05", "10:00"]
