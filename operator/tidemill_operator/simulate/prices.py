"""What GPUs cost over time: a price with cheaper or dearer hours. Pure arithmetic over steps."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidemill_operator.simulate.trace import Trace


class Prices:
    """The price factor over time, 1 outside of all hours that the trace names; of hours that overlap, the first."""

    def __init__(self, trace: Trace) -> None:
        self.per_gpu_hour = trace.limits.price_per_gpu_hour
        self.hours = trace.prices
        self._edges = sorted({0.0} | {edge for price in trace.prices for edge in (price.start, price.end)})
        self._factors = [self._named(edge) for edge in self._edges]
        self._sums = [0.0]
        for (left, right), factor in zip(pairwise(self._edges), self._factors, strict=False):
            self._sums.append(self._sums[-1] + (right - left) * factor)

    def _named(self, time: float) -> float:
        return next((price.factor for price in self.hours if price.start <= time < price.end), 1.0)

    def factor(self, time: float) -> float:
        """The factor at this moment."""
        return self._factors[max(bisect_right(self._edges, time) - 1, 0)]

    def cost(self, begin: float, end: float) -> float:
        """What one GPU costs from `begin` to `end`, in the currency of the price."""
        return (self._until(end) - self._until(begin)) / 3600 * self.per_gpu_hour

    def _until(self, time: float) -> float:
        index = max(bisect_right(self._edges, time) - 1, 0)
        return self._sums[index] + (time - self._edges[index]) * self._factors[index]

    def steps(self, begin: float, end: float) -> list[tuple[float, float]]:
        """(seconds, factor) of each step of the price between two times, in order of time."""
        inner = [edge for edge in self._edges if begin < edge < end]
        return [(right - left, self.factor(left)) for left, right in pairwise([begin, *inner, end])]
