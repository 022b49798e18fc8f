"""Traces small enough to be worked out by hand, and policies that do as they are told."""

from tidemill_operator.simulate.policy import Answer
from tidemill_operator.simulate.trace import Job, Limits, Trace

EVEN = {"row_spread": 0.0, "worker_spread": 0.0, "start_up_spread": 0.0, "prepare": 0.0, "start_up": 100.0}
"""Nothing is left to chance."""


def job(name="one", **fields):
    """3,600 rows of a second each, from the start on, wanted within six hours (the target: two)."""
    given = {"arrival": 0.0, "rows": 3600, "rows_per_second": 1.0, "window": 6 * 3600.0}
    return Job(name=name, **EVEN | given | fields)


def trace(*lines, gpus=100, seed=0):
    return Trace.of("by-hand", [*lines, Limits(gpu_limit=gpus, price_per_gpu_hour=2.0)], seed)


class Always:
    """Stands for a policy: the same size for every job, from its validation on."""

    def __init__(self, size):
        self.size = size
        self.seen = []

    def decide(self, seen):
        self.seen.append(seen)
        size = self.size(seen) if callable(self.size) else self.size
        return Answer(workers={view.name: size for view in seen.jobs if view.prepared})

    def ended(self, job):
        pass
