"""The driver's process: connects to its cluster, runs one attempt, and says the outcome last of all.

`python -m tidemill_workloads.driver <attempt of the output folder>`, started by `__main__` in its own place after
validation. All that it knows comes from the output folder, so it may be killed at any moment.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tidemill_api.job_contract import EXIT_BUG, EXIT_OK, EXIT_USER
from tidemill_workloads.attempt import Attempt, Stalled, Stopped
from tidemill_workloads.coordinator import CoordinatorActor
from tidemill_workloads.driver_log import LogTail
from tidemill_workloads.engine.interface import EngineSettings
from tidemill_workloads.errors import JobRefused, Superseded
from tidemill_workloads.identity import Claim
from tidemill_workloads.index import read_index
from tidemill_workloads.locations import open_output, validated_input
from tidemill_workloads.logs import set_up_logging
from tidemill_workloads.metrics import LiveMetrics
from tidemill_workloads.outcomes import refused, say
from tidemill_workloads.retries import RetryPolicy
from tidemill_workloads.settings import read_config
from tidemill_workloads.worker import WorkerSetup

if TYPE_CHECKING:
    from tidemill_api.job_contract import JobConfig, Outcome

log = logging.getLogger("tidemill_workloads")


def main() -> int:
    """Exit code of the attempt."""
    set_up_logging()
    tail = LogTail.attach()
    config = read_config()
    try:
        attempt = prepare(config, int(sys.argv[1]))
        outcome = attempt.run()
    except JobRefused as refusal:
        tail.keep(config, refusal)
        return _end(refused(refusal, config), EXIT_USER)
    except (Superseded, Stopped) as ended:
        log.warning("%s", str(ended) or "stopped by SIGTERM; answered rows are kept for the next attempt")
        return _end(None, EXIT_BUG)
    except Stalled as ended:
        log.warning("%s: this attempt ends, and the next one goes on from what is durable", ended)
        tail.keep(config)
        return _end(None, EXIT_BUG)
    except Exception:  # the outermost boundary: a bug is logged loudly; leaving by _end cannot hang on Ray's threads
        log.critical("the driver failed", exc_info=True)
        tail.keep(config)
        return _end(None, EXIT_BUG)
    if attempt.pipeline_ended.is_set():  # else a lane waits for a node that may never come: nothing to wait for
        ray.shutdown()  # what Ray has to say comes before the outcome
    return _end(outcome, EXIT_OK)


def prepare(config: JobConfig, number: int) -> Attempt:
    """Connects to the cluster that this process runs in. Raises JobRefused."""
    folder = open_output(config.output_uri, config.mounts)
    index = read_index(folder)
    if index is None:
        raise SystemExit("there is no chunk index: start `python -m tidemill_workloads`, which validates first")
    source = validated_input(config, folder, index)
    settings = EngineSettings(config.model, config.gpus_per_worker)
    retry = RetryPolicy(config.max_attempts, config.retry_backoff_seconds)
    setup = WorkerSetup(settings, source, Claim(folder, number), retry)
    metrics = LiveMetrics(config)
    metrics.phase("processing")
    metrics.validated(index.rows)
    metrics.serve()
    ray.init(address="auto", log_to_driver=False, logging_level=logging.WARNING)
    attempt = Attempt(config, setup, index, metrics, _start_coordinator())
    signal.signal(signal.SIGTERM, lambda *_: attempt.stop_asked.set())  # after ray.init, which sets its own
    return attempt


def _start_coordinator() -> Any:
    """On this node, without a second life: its ledger would be lost, and the next attempt makes a new one."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor = ray.remote(num_cpus=0, max_restarts=0)(CoordinatorActor)
    return actor.options(scheduling_strategy=here).remote()


def _end(outcome: Outcome | None, code: int) -> int:
    """Says the outcome last of all. Leaves at once: a pipeline that was given up must not hold up the exit."""
    if outcome is not None:
        say(outcome)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
