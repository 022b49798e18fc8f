"""Draws what an endpoint did over time, in the terminal: replicas, depth and age, one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.realtime.observing import Moment

WIDTH = 100
PANEL_HEIGHT = 8
TICK_SECONDS = (10, 30, 60, 120, 300, 600)
MOST_TICKS = 10

WANTED, ANSWERING, FINE = "·", "█", "hd"
"""Markers: they tell two lines apart without colours too. The last is plotext's name of its finest."""


def draw(moments: Sequence[Moment], width: int) -> str:
    """Three plots over one time axis, in seconds since the first moment, with ANSI colours; empty without moments."""
    if len(moments) < 2:  # a line has two ends
        return ""
    begin = moments[0].time
    times = [moment.time - begin for moment in moments]
    panels: dict[str, dict[str, Sequence[float]]] = {
        f"replicas wanted ({WANTED}) and answering ({ANSWERING}), by seconds since it was ready": {
            WANTED: [moment.seen.wanted for moment in moments],
            ANSWERING: [moment.seen.answering for moment in moments],
        },
        "requests waiting and running": {FINE: [moment.gauges.depth for moment in moments]},
        "age of the oldest waiting request, seconds": {FINE: [moment.gauges.oldest_seconds for moment in moments]},
    }
    figure = plotext.figure
    figure.clear()
    figure.subplots(len(panels), 1)
    figure.plot_size(min(width, WIDTH), PANEL_HEIGHT * len(panels))
    for row, (title, lines) in enumerate(panels.items(), 1):
        panel = figure.subplot(row, 1)
        panel.theme("simple")
        panel.title(title)
        for marker, values in lines.items():
            panel.draw(panel.signal(times, values, marker=marker).lines())
        top = max(1.0, *(max(values) for values in lines.values()))
        _rule(panel, "x", list(range(0, int(times[-1]) + 1, tick_seconds(times[-1]))))
        _rule(panel, "y", [0, round(top)] if top < 4 else [0, round(top / 2), round(top)])
    return str(figure.build())


def _rule(panel: plotext.figure, axis: str, ticks: list[int]) -> None:
    panel.ruler(axis).ticks(ticks, [str(tick) for tick in ticks])


def tick_seconds(seconds: float) -> int:
    """A round distance between ticks that gives at most MOST_TICKS of them."""
    return next((step for step in TICK_SECONDS if seconds / step <= MOST_TICKS), int(seconds / MOST_TICKS) + 1)
