"""A queue before engines that batch, second by second: what the scaling law is tried out on.

A request takes one slot of one replica for its service time. Replicas answer `startup` seconds after they are wanted.
No asyncio, no clock: a tick is a second.
"""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise

from unit.operator.builders import T0

from tidemill_operator.core.endpoint.law import Law, Memory, Size, Sized, next_size
from tidemill_operator.core.endpoint.load import IngressSample, load_of


def law(**fields):
    given = {
        "least": 1,
        "most": 20,
        "target_depth": 10,
        "target_age_seconds": 2.0,
        "stabilization": timedelta(seconds=300),
        "to_zero_after": timedelta(seconds=600),
    }
    return Law(**given | fields)


@dataclass
class Endpoint:
    """One endpoint under a load; `tick` lets a second pass and decides."""

    law: Law
    slots: int = 16
    service: int = 4
    startup: int = 20
    wanted: int = 1
    second: int = 0
    queue: list = field(default_factory=list)  # arrival seconds
    running: list = field(default_factory=list)  # seconds at which a request ends
    ready_at: list = field(default_factory=lambda: [0])  # seconds at which each replica answers
    memory: Memory = field(default_factory=Memory)
    changed: object = None
    sizes: list = field(default_factory=list)
    whys: list = field(default_factory=list)

    @property
    def now(self):
        return T0 + timedelta(seconds=self.second)

    @property
    def ready(self):
        return sum(at <= self.second for at in self.ready_at)

    def _second_passes(self):
        before = self.ready
        self.second += 1
        if self.ready > before:
            self.memory = replace(self.memory, last_start=self.now)

    def tick_slow(self, waiting, age):
        """A second in which so many requests wait, the oldest for `age` seconds, whatever the size is."""
        self._second_passes()
        sample = IngressSample("r", self.now, waiting, 0, age)
        load = load_of([sample], ["r"], self.now, self.changed)
        self._apply(next_size(load, Size(self.wanted, self.ready), self.law, self.memory, self.now))

    def tick(self, arrivals, *, blind=False):
        self._second_passes()
        self.queue += [self.second] * arrivals
        self.running = [end for end in self.running if end > self.second]
        while self.queue and len(self.running) < self.ready * self.slots:
            self.queue.pop(0)
            self.running.append(self.second + self.service)
        oldest = float(self.second - self.queue[0]) if self.queue else 0.0
        sample = IngressSample("r", self.now, len(self.queue), len(self.running), oldest)
        load = load_of([] if blind else [sample], ["r"], self.now, self.changed)
        decided = next_size(load, Size(self.wanted, self.ready), self.law, self.memory, self.now)
        self._apply(decided)
        return decided

    def _apply(self, decided: Sized):
        self.memory = decided.memory
        if decided.replicas == self.wanted:
            return
        if decided.replicas > self.wanted:
            self.ready_at += [self.second + self.startup] * (decided.replicas - self.wanted)
        else:
            self.ready_at = sorted(self.ready_at)[: decided.replicas]
        self.wanted, self.changed = decided.replicas, self.now
        self.sizes.append((self.second, decided.replicas))
        self.whys.append(decided.why)

    def turns(self):
        """How often the size changed its direction."""
        sizes = [1, *(size for _, size in self.sizes)]
        ups = [after > before for before, after in pairwise(sizes)]
        return sum(before != after for before, after in pairwise(ups))
