"""The law over time: a job is played to its end with noisy speeds, and what the law did all the way is judged.

The world here is the least that there is to judge it by: one job, a look each ten seconds, workers that start with
noise and answer with noise around a speed that the law does not know. Whole namespaces are played by the simulation.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from unit.core.deadline_loads import NOW

from tidemill_operator.core.deadline.estimates import (
    Estimate,
    Measure,
    observed_rate,
    observed_startup,
    rate_estimate,
    rate_prior,
    remaining_start,
    startup_estimate,
)
from tidemill_operator.core.deadline.forecast import forecast
from tidemill_operator.core.deadline.law import size_of
from tidemill_operator.core.deadline.load import Load
from tidemill_operator.core.deadline.need import Fleet

LOOK = 10.0


@dataclass
class World:
    """One job's cluster in virtual time; `rate` is rows/s of a worker, `startup` seconds, either with noise."""

    rows: float
    target: float
    window: float
    rate: float
    startup: float
    chance: random.Random
    prior: Estimate
    now: float = NOW
    born: list[tuple[float, float]] = field(default_factory=list)  # when a worker was started, when it is ready
    measure: Measure | None = None
    starts: Measure | None = None
    sizes: list[int] = field(default_factory=list)
    finishes: list[tuple[float, float]] = field(default_factory=list)  # the share of the rows done, the finish foretold
    paid: float = 0.0

    def load(self) -> Load:
        """What the operator would see."""
        startup = startup_estimate(Estimate(self.startup, 0.2, 3), (), self.starts)
        running = sum(ready <= self.now for _, ready in self.born)
        starting = tuple(remaining_start(self.now - start, startup) for start, ready in self.born if ready > self.now)
        rate = rate_estimate(self.prior, (), self.measure)
        fleet = Fleet(running, starting)
        deadlines = (NOW + self.target, NOW + self.window)
        return Load(self.rows, self.rows, 1.0, min(running, 1), *deadlines, 0, 16, fleet, rate, startup)

    def play(self) -> World:
        """To the last row, or three windows long."""
        total = self.rows
        while self.rows > 0 and self.now < NOW + 3 * self.window:
            load = self.load()
            wanted = size_of(load, self.now).workers
            self.finishes.append((1 - self.rows / total, forecast(load, self.now, wanted, 16).finish))
            self.sizes.append(wanted)
            self.resize(wanted)
            self.work()
        return self

    def resize(self, wanted: int) -> None:
        """Newest first go; new ones begin to start."""
        self.born = sorted(self.born, key=lambda worker: worker[1])[:wanted]
        for _ in range(wanted - len(self.born)):
            self.born.append((self.now, self.now + self.startup * self.chance.uniform(0.9, 1.4)))

    def work(self) -> None:
        """One look's time passes."""
        ready = [(start, done) for start, done in self.born if done <= self.now]
        for start, done in ready:
            if done > self.now - LOOK:
                self.starts = observed_startup(self.starts, done - start)
        rows = sum(self.rate * LOOK * self.chance.uniform(0.75, 1.25) for _ in ready)
        self.measure = observed_rate(self.measure, rows, LOOK * len(ready))
        self.rows -= rows
        self.now += LOOK
        self.paid += LOOK * len(self.born)


@st.composite
def worlds(draw: st.DrawFn, *, known: bool) -> World:
    """A job that 1 to 12 workers make within its target; its speed measured by others before, or never."""
    workers, startup = draw(st.floats(0.2, 12)), draw(st.floats(20, 200))
    target = startup * draw(st.floats(5, 40))
    rate = draw(st.floats(0.5, 20))
    others = Estimate(rate * draw(st.floats(0.8, 1.25)), 0.2, 1000)
    prior = others if known else Estimate(rate * draw(st.floats(0.3, 3)), rate_prior(1).spread)
    rows = workers * rate * (target - startup)
    chance = random.Random(draw(st.integers(0, 10**6)))
    window = target * draw(st.sampled_from([1.0, 1.5, 3.0]))
    return World(rows, target, window, rate, startup, chance, prior)


@settings(max_examples=60, deadline=None)
@given(worlds(known=True))
def test_noise_never_stops_a_worker_that_is_started_again(world: World) -> None:
    sizes = world.play().sizes
    falls = [n for n, (one, two) in enumerate(pairwise(sizes)) if two < one]
    rises = [n for n, (one, two) in enumerate(pairwise(sizes)) if two > one]
    assert not [rise for fall in falls for rise in rises if 0 < rise - fall <= 900 / LOOK]


@settings(max_examples=60, deadline=None)
@given(worlds(known=True))
def test_a_window_that_sixteen_workers_can_make_is_made(world: World) -> None:
    world.play()
    assert world.rows <= 0
    assert world.now - NOW <= world.window + 2 * LOOK


@settings(max_examples=60, deadline=None)
@given(worlds(known=False))
def test_a_window_is_made_although_nothing_was_known_of_the_speed(world: World) -> None:
    world.window = world.target * 3
    world.play()
    assert world.now - NOW <= world.window


@settings(max_examples=60, deadline=None)
@given(worlds(known=True))
def test_from_a_quarter_of_the_rows_on_the_forecast_is_within_a_fifth(world: World) -> None:
    world.play()
    whole = world.now - NOW
    wrong = [abs(finish - world.now) / whole for done, finish in world.finishes if done >= 0.25]
    assert max(wrong, default=0.0) <= 0.2
