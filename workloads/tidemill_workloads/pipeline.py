"""The Ray Data pipeline: chunk descriptors in, chunk descriptors out, an engine actor between them.

Rows never pass through Ray: an actor reads its byte range from the input and writes parts beside the output. The pool
has the size that workers may ever reach; actors without a node stay pending and block nothing, so that workers may be
none at first, join later, vanish and come back: Ray Data restarts a lost actor and retries its tasks for ever.
"""

from __future__ import annotations

import logging
from math import ceil
from typing import TYPE_CHECKING, Any

import msgspec
import ray
import ray.data

from tidemill_api.job_contract import ENGINE_RESOURCE
from tidemill_workloads.worker import EngineWorker, WorkerSetup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill_workloads.index import Chunk

log = logging.getLogger(__name__)

MIN_CHUNKS_IN_FLIGHT = 2
MAX_CHUNKS_IN_FLIGHT = 64
"""Each chunk in flight is a thread of its actor."""


def run_chunks(chunks: Sequence[Chunk], setup: WorkerSetup, workers_max: int, board: Any) -> None:
    """Returns when every chunk was run. Raises what Ray raises where an actor's code fails; parts tell the rest."""
    _quieten()
    concurrency = chunks_in_flight(chunks, setup.rows_in_flight)
    log.info("%d chunks to run, %d at once on each of up to %d workers", len(chunks), concurrency, workers_max)
    dataset = ray.data.from_items(
        [msgspec.structs.asdict(chunk) for chunk in chunks], override_num_blocks=len(chunks)
    ).map_batches(
        EngineWorker,
        fn_constructor_args=(setup, board),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=workers_max,
            max_concurrent_calls_per_actor=concurrency,
            max_tasks_in_flight_per_actor=concurrency + 1,
        ),
        num_cpus=0,
        num_gpus=setup.settings.gpus,
        resources={ENGINE_RESOURCE: 1},
    )
    for _ in dataset.iter_internal_ref_bundles():
        pass


def chunks_in_flight(chunks: Sequence[Chunk], rows_in_flight: int) -> int:
    """Chunks that one actor runs at once: enough rows to fill it while the oldest chunk runs out."""
    rows = max(1, sum(chunk.rows for chunk in chunks) // max(1, len(chunks)))
    return min(MAX_CHUNKS_IN_FLIGHT, max(MIN_CHUNKS_IN_FLIGHT, ceil(rows_in_flight / rows) + 1))


def _quieten() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.enable_operator_progress_bars = False
    context.memory_usage_poll_interval_s = None  # a thread and reads of /proc for every task, for a figure nobody reads
    logging.getLogger("ray.data").setLevel(logging.ERROR)
