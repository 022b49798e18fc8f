"""What `continuous_batching.py` measured, as values, and its table. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from command_line import table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from load_figures import Figures


@dataclass(frozen=True)
class Point:
    """One concurrency, batched continuously and in static batches."""

    width: int
    continuous: Figures
    static: Figures


HEADER = ("concurrent", "batches", "requests", "tokens/s", "gain", "TTFT p50", "p99", "latency p50", "p99", "by static")


def report(points: Sequence[Point]) -> str:
    """The table, and in one sentence what the largest concurrency buys. The first point is one at a time."""
    alone = points[0].continuous
    rows = [line for point in points for line in _lines(point, alone)]
    last = points[-1]
    gain, by_static = last.continuous.throughput / alone.throughput, _by_static(last)
    sentence = (
        f"With {last.width} requests at once the endpoint makes {gain:.1f} times the tokens of one at a time, so an"
        f" answer costs {1 / gain:.2f} of one alone; {by_static:.2f} times those of static batches of {last.width}."
    )
    return f"{table(HEADER, rows)}\n\n{sentence}"


def _lines(point: Point, alone: Figures) -> list[tuple[str, ...]]:
    if point.width == 1:
        return [_line(point, "one at a time", point.continuous, alone, "")]
    return [
        _line(point, "continuous", point.continuous, alone, f"{_by_static(point):.2f}"),
        _line(point, "static", point.static, alone, ""),
    ]


def _line(point: Point, name: str, figures: Figures, alone: Figures, by_static: str) -> tuple[str, ...]:
    return (
        str(point.width),
        name,
        str(figures.requests),
        f"{figures.throughput:.1f}",
        f"{figures.throughput / alone.throughput:.1f}",
        *(f"{seconds * 1000:.0f} ms" for seconds in (figures.first_p50, figures.first_p99)),
        *(f"{seconds:.2f} s" for seconds in (figures.whole_p50, figures.whole_p99)),
        by_static,
    )


def _by_static(point: Point) -> float:
    return point.continuous.throughput / point.static.throughput
