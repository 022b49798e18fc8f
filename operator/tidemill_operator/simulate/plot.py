"""Draws runs over time: the GPUs that jobs and endpoints hold under each policy; for a terminal, or as plain text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import plotext

from tidemill_operator.simulate.record import POINT_SECONDS, Point

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidemill_operator.simulate.record import Record

WIDTH = 110
PANEL_HEIGHT = 11
JOBS, BUSY = "█", "·"
"""Markers of the two lines of a panel: they are told apart without colours too."""

TICK_HOURS = (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48)
MOST_TICKS = 12

PAUSE_SECONDS = 3 * POINT_SECONDS

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def draw(records: Mapping[str, Record], width: int = WIDTH) -> str:
    """A panel for each policy with one scale, and one for the endpoints' GPUs under the first; with ANSI colours.

    Empty where nothing was recorded.
    """
    drawn = {name: record for name, record in records.items() if len(record.points) > 1}
    if not drawn:
        return ""
    hours = max(record.points[-1].time for record in drawn.values()) / 3600
    most = max(max(p.job_gpus + p.endpoint_gpus, 1) for record in drawn.values() for p in record.points)
    panels = []
    for name, record in drawn.items():
        points = _with_pauses(record.points)
        times = [point.time / 3600 for point in points]
        jobs = [point.job_gpus for point in points]
        title = f"{name}: GPUs held by jobs ({JOBS})"
        lines = {JOBS: jobs}
        if record.endpoints:
            title += f" and by endpoints ({BUSY})"
            lines[BUSY] = [point.endpoint_gpus for point in points]
        panels.append(_panel(f"{title}, by hour", times, lines, (hours, most), min(width, WIDTH)))
    return "\n".join(panels)


def _with_pauses(points: Sequence[Point]) -> list[Point]:
    """The points from 0 on, with nothing held where nothing was looked at: there was no job."""
    whole = [Point(0.0, 0, 0, 0, 0.0)]
    for point in points:
        if point.time - whole[-1].time > PAUSE_SECONDS:
            whole += [Point(whole[-1].time + 1, 0, 0, 0, 0.0), Point(point.time - 1, 0, 0, 0, 0.0)]
        whole.append(point)
    return whole


def _panel(
    title: str, times: Sequence[float], lines: Mapping[str, Sequence[float]], ends: tuple[float, float], width: int
) -> str:
    """One plot from 0 to these ends: hours, GPUs."""
    hours, most = ends
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, PANEL_HEIGHT)
    figure.theme("simple")
    figure.title(title)
    for marker, values in lines.items():
        shown = figure.signal(times, values, marker=marker).lines()
        figure.draw(shown.fillx() if marker == JOBS else shown)
    figure.ruler("x").lim(0, hours)
    figure.ruler("y").lim(0, most)
    step = next((step for step in TICK_HOURS if hours / step <= MOST_TICKS), hours / MOST_TICKS)
    ticks = [index * step for index in range(int(hours / step) + 1)]
    figure.ruler("x").ticks(ticks, [f"{tick:g}" for tick in ticks])
    heights = [0, round(most / 2), round(most)]
    figure.ruler("y").ticks(heights, [str(height) for height in heights])
    return str(figure.build())


def without_colours(drawn: str) -> str:
    """The same for a file."""
    return _COLOURS.sub("", drawn)
