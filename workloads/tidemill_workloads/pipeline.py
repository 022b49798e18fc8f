"""The Ray Data pipeline: lanes in, lanes out, an engine actor between them.

A lane is one engine's way through the job; neither rows nor chunks pass through Ray Data. An actor takes its work from
the ledger on the head, reads byte ranges from the input and writes parts beside the output. There are as many lanes
and actors as there may ever be workers; actors without a node stay pending and block nothing, so that workers may be
none at first, join later, vanish and come back: Ray Data restarts a lost actor and its lane wherever there is room,
and what the actor held is long with others by then.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import ray
import ray.data

from tidemill_api.job_contract import ENGINE_RESOURCE
from tidemill_workloads.worker import EngineWorker

if TYPE_CHECKING:
    from tidemill_workloads.worker import WorkerSetup

log = logging.getLogger(__name__)


def run_lanes(setup: WorkerSetup, workers_max: int, coordinator: Any) -> None:
    """Returns when every lane has ended, which a job need not wait for. Raises what an actor's code raises.

    One lane at a time on an actor: a second one behind it would not be there for an actor that comes later.
    """
    _quieten()
    lanes = ray.data.from_items([{"lane": lane} for lane in range(workers_max)], override_num_blocks=workers_max)
    dataset = lanes.map_batches(
        EngineWorker,
        fn_constructor_args=(setup, coordinator),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=workers_max, max_concurrent_calls_per_actor=1, max_tasks_in_flight_per_actor=1
        ),
        num_cpus=0,
        num_gpus=setup.settings.gpus,
        resources={ENGINE_RESOURCE: 1},
    )
    for _ in dataset.iter_internal_ref_bundles():
        pass


def _quieten() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.memory_usage_poll_interval_s = None  # a thread and reads of /proc for every task, for a figure nobody reads
    logging.getLogger("ray.data").setLevel(logging.ERROR)
