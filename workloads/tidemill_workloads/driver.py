"""The driver: runs every row that has no line yet on the workers that there are, then joins and finalises.

`python -m tidemill_workloads.driver <attempt of the output folder>`, started by `__main__` in its own place after
validation. All that it knows comes from the output folder, so it may be killed at any moment.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import EXIT_BUG, EXIT_OK, EXIT_USER
from tidemill_workloads.engine.interface import EngineSettings
from tidemill_workloads.errors import JobRefused, RowsMissing, Superseded
from tidemill_workloads.identity import Claim
from tidemill_workloads.index import Chunk, Index, read_index
from tidemill_workloads.join import Survey, Totals, survey
from tidemill_workloads.locations import open_input, open_output
from tidemill_workloads.logs import set_up_logging
from tidemill_workloads.manifest import finalise
from tidemill_workloads.metrics import LiveMetrics
from tidemill_workloads.outcomes import refused, say
from tidemill_workloads.pipeline import run_chunks
from tidemill_workloads.progress import BoardActor, Snapshot
from tidemill_workloads.settings import read_config
from tidemill_workloads.storage import input_changed
from tidemill_workloads.worker import WorkerSetup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill_api.job_contract import JobConfig, Outcome

log = logging.getLogger("tidemill_workloads")

POLL_SECONDS = 1.0
CLAIM_CHECK_SECONDS = 5.0
LOG_SECONDS = 30.0
STOP_SECONDS = 20.0
"""How long a stop waits for the workers to make their answers durable; Ray kills a job 60 s after its SIGTERM."""

MAX_IDLE_ROUNDS = 3
"""Passes over chunks that lack a line without one new row among them: more would be a bug running in circles."""


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked for it
    """SIGTERM came: what is answered is kept, the rest is for the next attempt."""


@dataclass(slots=True)
class Driver:
    """One attempt at work."""

    config: JobConfig
    setup: WorkerSetup
    index: Index
    metrics: LiveMetrics
    board: Any
    stop_asked: threading.Event = field(default_factory=threading.Event)
    base: Totals = field(default_factory=Totals)

    def run(self) -> Outcome:
        """Answers, joins and finalises. Raises JobRefused, Superseded, Stopped."""
        found = self._survey()
        idle_rounds = 0
        while found.unfinished:
            self._process(found.unfinished)
            try:
                return self._finalise()
            except RowsMissing as missing:
                log.warning("%s; running them again", missing)
                before, found = found.totals.rows, self._survey()
                idle_rounds = idle_rounds + 1 if found.totals.rows == before else 0
                if idle_rounds == MAX_IDLE_ROUNDS:
                    raise
        return self._finalise()

    def _survey(self) -> Survey:
        found = survey(self.setup.claim.folder, self.setup.source, self.index)
        log.info("%d of %d rows have a line", found.totals.rows, self.index.rows)
        self.base = found.totals
        ray.get(self.board.restart.remote())
        self._show(Snapshot())
        return found

    def _finalise(self) -> Outcome:
        self.metrics.phase("finalising")
        log.info("every chunk was run; writing the results")
        return finalise(self.config, self.setup.claim, self.setup.source, self.index)

    def _process(self, chunks: Sequence[Chunk]) -> None:
        self.metrics.phase("processing")
        failure: list[BaseException] = []
        done = threading.Event()

        def pipeline() -> None:
            try:
                run_chunks(chunks, self.setup, self.config.workers_max, self.board)
            except BaseException as error:
                failure.append(error)
            finally:
                done.set()

        threading.Thread(target=pipeline, name="pipeline", daemon=True).start()
        self._watch(done)
        self._show(ray.get(self.board.snapshot.remote()))
        if failure:
            self._raise_known_cause()
            raise failure[0]

    def _watch(self, done: threading.Event) -> None:
        """Shows progress until the pipeline ends. Raises Stopped or Superseded, with the workers' answers flushed."""
        next_claim_check = next_log = 0.0
        while not done.wait(POLL_SECONDS):
            now = time.monotonic()
            snapshot: Snapshot = ray.get(self.board.snapshot.remote())
            self._show(snapshot)
            if self.stop_asked.is_set():
                self._flush_workers()
                raise Stopped
            if now >= next_claim_check:
                self.setup.claim.check()
                next_claim_check = now + CLAIM_CHECK_SECONDS
            if now >= next_log:
                self._log(snapshot)
                next_log = now + LOG_SECONDS

    def _flush_workers(self) -> None:
        ray.get(self.board.stop.remote())
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            snapshot: Snapshot = ray.get(self.board.snapshot.remote())
            if not snapshot.still_writing:
                return
            time.sleep(POLL_SECONDS / 4)
        log.warning("not every worker answered within %.0f s; its rows of the last seconds run again", STOP_SECONDS)

    def _raise_known_cause(self) -> None:
        """The pipeline failed: is it one of the causes that have a name? Parts, claim and input tell."""
        snapshot: Snapshot = ray.get(self.board.snapshot.remote())
        if snapshot.refusal is not None:
            reason, message = snapshot.refusal
            raise JobRefused(Reason(reason), message)
        self.setup.claim.check()
        self.setup.source.open().close()

    def _show(self, snapshot: Snapshot) -> None:
        total = self.index.rows
        completed = min(total, self.base.completed + snapshot.completed)
        self.metrics.answered(
            completed,
            min(total - completed, self.base.failed + snapshot.failed),
            self.base.prompt_tokens + snapshot.prompt_tokens,
            self.base.completion_tokens + snapshot.completion_tokens,
        )
        self.metrics.in_flight(snapshot.in_flight)

    def _log(self, snapshot: Snapshot) -> None:
        done = self.base.rows + snapshot.completed + snapshot.failed
        in_flight = sum(snapshot.in_flight.values())
        log.info("%d of %d rows, %d in flight on %d workers", done, self.index.rows, in_flight, snapshot.live)


def main() -> int:
    """Exit code of the attempt."""
    set_up_logging()
    config = read_config()
    try:
        driver = prepare(config, int(sys.argv[1]))
        outcome = driver.run()
    except JobRefused as refusal:
        return _end(refused(refusal, config), EXIT_USER)
    except (Superseded, Stopped) as ended:
        log.warning("%s", str(ended) or "stopped by SIGTERM; answered rows are kept for the next attempt")
        return _end(None, EXIT_BUG)
    except Exception:  # the outermost boundary: a bug is logged loudly; leaving by _end cannot hang on Ray's threads
        log.critical("the driver failed", exc_info=True)
        return _end(None, EXIT_BUG)
    return _end(outcome, EXIT_OK)


def prepare(config: JobConfig, attempt: int) -> Driver:
    """Connects to the cluster that this process runs in. Raises JobRefused."""
    folder = open_output(config.output_uri, config.mounts)
    source = open_input(config.input_uri, config.mounts).settled(folder)
    index = read_index(folder)
    if index is None:
        raise SystemExit("there is no chunk index: start `python -m tidemill_workloads`, which validates first")
    settings = EngineSettings(config.model, config.gpus_per_worker)
    setup = WorkerSetup(settings, source, Claim(folder, attempt))
    metrics = LiveMetrics(config)
    metrics.phase("processing")
    metrics.validated(index.rows)
    metrics.known(index.rows, setup.rows_in_flight)
    metrics.serve()
    if source.identity.state != index.state:
        raise input_changed(config.input_uri)
    ray.init(address="auto", log_to_driver=False, logging_level=logging.WARNING)
    driver = Driver(config, setup, index, metrics, _start_board())
    signal.signal(signal.SIGTERM, lambda *_: driver.stop_asked.set())  # after ray.init, which sets its own
    return driver


def _start_board() -> Any:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(BoardActor)
    return actor.options(scheduling_strategy=here).remote()


def _end(outcome: Outcome | None, code: int) -> int:
    """Says the outcome last of all. Leaves at once: a pipeline that was given up must not hold up the exit."""
    if outcome is not None:
        ray.shutdown()  # the pipeline has ended; what Ray has to say comes before the outcome
        say(outcome)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
