"""Draws a run over time: GPUs of jobs and endpoints, jobs that are active; in the terminal, or as text in a file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import plotext

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidemill_operator.simulate.record import Record

WIDTH = 110
PANEL_HEIGHT = 12
MARKERS = ("█", "·", "o", "x")
"""They tell the policies apart without colours too."""

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def draw(records: Mapping[str, Record], width: int = WIDTH) -> str:
    """Panels over one axis of hours, a line for each policy, with ANSI colours; empty where nothing was recorded."""
    points = {name: record.points for name, record in records.items() if len(record.points) > 1}
    if not points:
        return ""
    named = ", ".join(f"{name} ({marker})" for name, marker in zip(points, MARKERS, strict=False))
    panels: dict[str, dict[str, Sequence[float]]] = {
        f"GPUs held by jobs: {named}; hours": {name: [p.job_gpus for p in some] for name, some in points.items()},
        "jobs at work or waiting": {name: [point.jobs for point in some] for name, some in points.items()},
    }
    if any(record.endpoints for record in records.values()):
        panels["GPUs held by endpoints"] = {name: [p.endpoint_gpus for p in some] for name, some in points.items()}
    figure = plotext.figure
    figure.clear()
    figure.subplots(len(panels), 1)
    figure.plot_size(min(width, WIDTH), PANEL_HEIGHT * len(panels))
    hours = {name: [point.time / 3600 for point in some] for name, some in points.items()}
    for row, (title, lines) in enumerate(panels.items(), 1):
        _panel(figure.subplot(row, 1), title, lines, hours)
    return str(figure.build())


def _panel(
    panel: plotext.figure, title: str, lines: Mapping[str, Sequence[float]], hours: Mapping[str, Sequence[float]]
) -> None:
    panel.theme("simple")
    panel.title(title)
    for (name, values), marker in zip(lines.items(), MARKERS, strict=False):
        panel.draw(panel.signal(hours[name], values, marker=marker).lines())
    top = max(1, *(round(max(values)) for values in lines.values()))
    panel.ruler("y").ticks([0, round(top / 2), top], [str(tick) for tick in (0, round(top / 2), top)])


def without_colours(drawn: str) -> str:
    """The same for a file."""
    return _COLOURS.sub("", drawn)
