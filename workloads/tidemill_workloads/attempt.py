"""One attempt at a job's rows: hands the work to the workers that there are, watches them, joins and finalises.

The driver's process (`driver.py`) makes one and runs it. It stays until every row has a line, or raises why it cannot:
nothing is retried here that the next attempt would do as well, since every attempt goes on from what is durable.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import ray

from tidemill_api.conditions import Reason
from tidemill_workloads.aside import Aside
from tidemill_workloads.errors import JobRefused, RowsMissing
from tidemill_workloads.finishing import finish
from tidemill_workloads.join import Totals, survey
from tidemill_workloads.manifest import finalise
from tidemill_workloads.nodes import Nodes, nodes_now
from tidemill_workloads.outcomes import Cut
from tidemill_workloads.pipeline import run_lanes
from tidemill_workloads.progress import Snapshot
from tidemill_workloads.rate import RateMeter
from tidemill_workloads.suspects import plan_work, stale_markers, unanswered
from tidemill_workloads.watchdog import StallClock, driver_stall_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidemill_api.job_contract import JobConfig, Outcome
    from tidemill_workloads.coordinator import View
    from tidemill_workloads.index import Chunk, Index
    from tidemill_workloads.ledger import Work
    from tidemill_workloads.metrics import LiveMetrics
    from tidemill_workloads.worker import WorkerSetup

log = logging.getLogger("tidemill_workloads")

POLL_SECONDS = 1.0
CLAIM_CHECK_SECONDS = 5.0
LOG_SECONDS = 30.0
STOP_SECONDS = 25.0
"""How long a stop waits for the workers to make their answers durable, the rows in flight given 10 s; Ray kills a job
60 s after its SIGTERM."""

FINALISE_WAITS = (2.0, 10.0, 60.0)
"""Seconds before further looks at an output folder that lacks lines which workers have written: a shared file system
may show another node's file late (NFS keeps a folder's listing for up to 60 s)."""


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """SIGTERM came: what is answered is kept, the rest is for the next attempt."""


class Stalled(Exception):  # noqa: N818 - named for what happened
    """This attempt gets no further, for the reason said: the next one starts the workers anew."""


@dataclass(slots=True)
class Attempt:
    """One life of the driver."""

    config: JobConfig
    setup: WorkerSetup
    index: Index
    metrics: LiveMetrics
    coordinator: Any
    stop_asked: threading.Event = field(default_factory=threading.Event)
    pipeline_ended: threading.Event = field(default_factory=threading.Event)
    base: Totals = field(default_factory=Totals)
    rate: RateMeter = field(default_factory=RateMeter)
    silence: StallClock = field(default_factory=lambda: StallClock(driver_stall_seconds()))
    aside: Aside = field(default_factory=Aside)

    def run(self) -> Outcome:
        """Answers, joins and finalises. Raises JobRefused, Superseded, Stopped, Stalled."""
        unfinished = self._survey()
        if unfinished and not self._too_many(self.base.failed) and not self._process(unfinished).complete:
            unfinished = self._survey()  # workers' figures count a row twice that two of them answered
            if unfinished and not self._too_many(self.base.failed):
                raise Stalled("fewer rows failed than the workers' figures said, and the workers have stopped")
        if self._too_many(self.base.failed):
            return self._give_up(self.base.failed)
        return self._finalise()

    def _survey(self) -> Sequence[Chunk]:
        found = survey(self.setup.claim.folder, self.index)
        log.info("%d of %d rows have a line", found.totals.rows, self.index.rows)
        self.base = found.totals
        self._show(Snapshot())
        self.metrics.known(self.index.rows, self.setup.rows_in_flight)  # last: what is done is never read as zero
        return found.unfinished

    def _process(self, chunks: Sequence[Chunk]) -> View:
        """Returns when every row has a line, or too many seem to have failed and the workers have stopped."""
        self.metrics.phase("processing")
        claim = self.setup.claim
        markers = stale_markers(claim.folder, claim.number)
        ray.get(self.coordinator.load.remote(plan_work(chunks, markers, claim.folder, self.setup.source)))
        log.info("%d chunks to run on up to %d workers", len(chunks), self.config.workers_max)
        failure: list[BaseException] = []

        def pipeline() -> None:
            try:
                run_lanes(self.setup, self.config.workers_max, self.coordinator)
            except BaseException as error:
                failure.append(error)
            finally:
                self.pipeline_ended.set()

        threading.Thread(target=pipeline, name="pipeline", daemon=True).start()
        return self._watch(failure)

    def _watch(self, failure: list[BaseException]) -> View:
        """Shows progress until no work is left. Raises what ends the attempt, with the workers' answers flushed."""
        next_claim_check = next_log = 0.0
        while True:
            ended = self.pipeline_ended.wait(POLL_SECONDS)
            self._hear_aside()
            nodes = nodes_now()
            view = self._look(nodes)
            if view.complete:
                return view
            if failure:
                self._raise_known_cause(self._look(nodes))  # a refusal may have come after the last look
                raise failure[0]
            self._check_ends(view, nodes)
            if self._too_many(self.base.failed + view.figures.failed):
                return self._flush_workers()
            if ended:
                raise Stalled("every lane has ended, and work is left")
            now = time.monotonic()
            if now >= next_log:
                self._log(view.figures)
                next_log = now + LOG_SECONDS
            if not self.aside.busy and view.losses:
                self.aside.start(partial(self._resolve, view.losses))
            elif not self.aside.busy and now >= next_claim_check:
                self.aside.start(self.setup.claim.check)
                next_claim_check = now + CLAIM_CHECK_SECONDS

    def _hear_aside(self) -> None:
        """What came of the last look at the store. Raises what it raised, a refusal after the workers have flushed."""
        try:
            self.aside.settle()
        except JobRefused:
            self._flush_workers()
            raise

    def _look(self, nodes: Nodes) -> View:
        view: View = ray.get(self.coordinator.look.remote(nodes.dead, nodes.draining))
        figures = view.figures
        in_flight = sum(figures.in_flight.values())
        self.rate.add(time.monotonic(), self.base.rows + figures.answered, busy=in_flight > 0)
        self._show(figures)
        return view

    def _check_ends(self, view: View, nodes: Nodes) -> None:
        if view.refusal is not None or self.stop_asked.is_set():
            self._raise_refusal(self._flush_workers())
            raise Stopped  # without a look at the store, which may take longer than Ray waits after its SIGTERM
        if self.silence.stalled(time.monotonic(), busy=nodes.engines > 0, sign=view.heard):
            limit = self.silence.limit
            raise Stalled(f"{nodes.engines} workers are there and none has said a word for {limit:.0f} s")

    def _resolve(self, losses: Mapping[int, Sequence[Work]]) -> None:
        """Engines died with what they held: the parts tell which rows have no line, and are suspects now. Aside."""
        folder, source = self.setup.claim.folder, self.setup.source
        for loss, works in losses.items():
            rows = {
                work.number: [suspect for piece in work.pieces for suspect in unanswered(folder, source, piece)]
                for work in works
            }
            count = sum(map(len, rows.values()))
            log.warning("an engine died with %d rows that have no line; they are run apart from others", count)
            ray.get(self.coordinator.resolve.remote(loss, rows))

    def _flush_workers(self) -> View:
        ray.get(self.coordinator.stop.remote())
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            view = self._look(Nodes())
            if not view.figures.still_writing:
                return view
            if time.monotonic() > deadline:
                log.warning(
                    "not every worker answered within %.0f s; its rows of the last seconds run again", STOP_SECONDS
                )
                return view
            time.sleep(POLL_SECONDS / 4)

    def _raise_known_cause(self, view: View) -> None:
        """Something failed: is it one of the causes that have a name? A worker's refusal, claim and input tell."""
        self._raise_refusal(view)
        self.setup.claim.check()
        self.setup.source.open().close()

    def _raise_refusal(self, view: View) -> None:
        if view.refusal is not None:
            reason, message = view.refusal
            raise JobRefused(Reason(reason), message)

    def _finalise(self) -> Outcome:
        self.metrics.phase("finalising")
        log.info("every row was run; writing the results")
        for wait in FINALISE_WAITS:
            try:
                return finalise(self.config, self.setup.claim, self.index)
            except RowsMissing as missing:
                log.warning("%s yet; looking again in %.0f s", missing, wait)
                time.sleep(wait)
        return finalise(self.config, self.setup.claim, self.index)

    def _too_many(self, failed: int) -> bool:
        bound = self.config.max_failed_rows
        return bound is not None and failed > bound

    def _give_up(self, failed: int) -> Outcome:
        self.metrics.phase("finalising")
        message = f"{failed} rows failed, more than spec.maxFailedRows ({self.config.max_failed_rows}) allows."
        log.warning("%s The rest is not run.", message)
        setup = self.setup
        cut = Cut(Reason.TOO_MANY_ROWS_FAILED, message)
        return finish(self.config, setup.claim, setup.source, self.index, cut)

    def _show(self, figures: Snapshot) -> None:
        total = self.index.rows
        completed = min(total, self.base.completed + figures.completed)
        self.metrics.answered(
            completed,
            min(total - completed, self.base.failed + figures.failed),
            self.base.prompt_tokens + figures.prompt_tokens,
            self.base.completion_tokens + figures.completion_tokens,
        )
        self.metrics.in_flight(figures.in_flight)
        self.metrics.rate(self.rate.rows_per_second)

    def _log(self, figures: Snapshot) -> None:
        done = self.base.rows + figures.completed + figures.failed
        in_flight = sum(figures.in_flight.values())
        log.info("%d of %d rows, %d in flight on %d workers", done, self.index.rows, in_flight, figures.live)
