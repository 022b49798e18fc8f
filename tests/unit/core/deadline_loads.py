"""Loads for the tests of the deadline law, by hand and by Hypothesis. A stand-in for nothing: plain values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tidemill_operator.core.deadline.estimates import Estimate
from tidemill_operator.core.deadline.load import Load
from tidemill_operator.core.deadline.need import Fleet

NOW = 1_800_000_000.0
SURE = Estimate(2.0, spread=0.05, weight=1000)
UNSURE = Estimate(2.0, spread=1.0)
START = Estimate(120.0, spread=0.1, weight=5)


def a_load(**over: Any) -> Load:
    """7,200 rows at 2 rows/s a worker, an hour's target within three hours' window, nothing running yet."""
    rows = over.pop("rows", 7200.0)
    values: dict[str, Any] = {
        "rows": rows,
        "rows_waiting": rows,
        "rows_per_worker": 16.0,
        "busy": 0,
        "target": NOW + 3600,
        "window_end": NOW + 3 * 3600,
        "least": 0,
        "most": 8,
        "fleet": Fleet(),
        "rate": SURE,
        "startup": START,
    }
    return Load(**{**values, **over})


@st.composite
def loads(draw: st.DrawFn, *, most: int = 40, sure: bool = False) -> Load:
    """Any load that the rules could hand to the law, rows waiting."""
    target = draw(st.floats(-600, 40_000))
    starting = draw(st.lists(st.floats(1, 400), max_size=6))
    running = draw(st.integers(0, 10))
    in_flight = draw(st.floats(0, 500)) if running else 0.0
    waiting = draw(st.floats(1, 1e6))
    least = draw(st.integers(0, 3))
    return Load(
        rows=waiting + in_flight,
        rows_waiting=waiting,
        rows_per_worker=draw(st.floats(1, 512)),
        busy=running if in_flight else 0,
        target=NOW + target,
        window_end=NOW + target + draw(st.floats(0, 80_000)),
        least=least,
        most=draw(st.integers(max(least, 1), most)),
        fleet=Fleet(running, tuple(starting)),
        rate=Estimate(draw(st.floats(0.01, 100)), draw(st.floats(0.05, 0.4 if sure else 1.5))),
        startup=Estimate(draw(st.floats(5, 900)), draw(st.floats(0.1, 0.5))),
        boost=draw(st.floats(1, 2)),
        tail_seconds=draw(st.floats(0, 60)),
    )
