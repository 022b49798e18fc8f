"""The GPUs of the simulated cluster, and the workers that hold them or wait for them. First come, first placed.

A worker holds its GPUs from the moment it is placed, its whole start-up included, until it is gone; while it is pending
it holds and costs nothing. Refuses nothing: who orders too much waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidemill_operator.simulate.prices import Prices
    from tidemill_operator.simulate.tenants import Tenant


class Worker:
    """A worker pod of a job, or a replica of an endpoint."""

    __slots__ = ("gone", "gpus", "held", "ordered", "owner", "ready", "speed")

    def __init__(self, owner: Tenant, gpus: int, now: float) -> None:
        self.owner = owner
        self.gpus = gpus
        self.ordered = now
        self.held: float | None = None
        self.ready: float | None = None
        self.speed = 1.0
        self.gone = False


class Pool:
    """So many GPUs, given out in the order in which workers were made; one that does not fit lets others pass."""

    def __init__(self, gpus: int, prices: Prices) -> None:
        self.gpus = gpus
        self.used = 0
        self._prices = prices
        self._pending: list[Worker] = []

    def order(self, worker: Worker) -> None:
        """One more worker waits for its GPUs."""
        self._pending.append(worker)

    def place(self, now: float) -> list[Worker]:
        """Gives GPUs to whoever waits and fits; those that got theirs."""
        if not self._pending or self.used >= self.gpus:
            return []
        placed, waiting = [], []
        for worker in self._pending:
            if self.used + worker.gpus <= self.gpus:
                self.used += worker.gpus
                worker.held = now
                worker.owner.bill.starts += 1
                placed.append(worker)
            else:
                waiting.append(worker)
        self._pending = waiting
        return placed

    def release(self, worker: Worker, now: float) -> None:
        """The worker is gone; what it held is paid for by its owner."""
        worker.gone = True
        if worker.held is None:
            self._pending.remove(worker)
            return
        self.used -= worker.gpus
        worker.owner.bill.gpu_seconds += (now - worker.held) * worker.gpus
        worker.owner.bill.cost += self._prices.cost(worker.held, now) * worker.gpus
