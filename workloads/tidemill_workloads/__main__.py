"""Entry point of the Ray job: checks, takes the output folder, validates, then becomes the driver.

Runs on the head with nothing of Ray or of an engine imported. Validation's memory is gone when the driver starts:
`execv` replaces the process and keeps its pid, so that the signals of a stop reach whoever is at work. A job that is
to end is ended here, without a driver.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

import msgspec

from tidemill_api.job_contract import EXIT_BUG, EXIT_OK, EXIT_USER, JobConfig
from tidemill_api.v1alpha1.uris import public
from tidemill_workloads.driver_log import LogTail
from tidemill_workloads.duplicates import CustomIds
from tidemill_workloads.engine.interface import EngineSettings
from tidemill_workloads.errors import JobRefused, Superseded
from tidemill_workloads.finishing import end_job
from tidemill_workloads.http_input import standing_copy
from tidemill_workloads.identity import Claim, belongs_to, own_folder
from tidemill_workloads.index import read_index, write_index
from tidemill_workloads.judge import Judge
from tidemill_workloads.locations import open_input, open_output, refuse_input_in_own_folders
from tidemill_workloads.logs import set_up_logging
from tidemill_workloads.manifest import standing_outcome
from tidemill_workloads.metrics import LiveMetrics
from tidemill_workloads.model_check import check_model
from tidemill_workloads.outcomes import refused, say
from tidemill_workloads.resubmit import forget_preparations, open_earlier, take_over
from tidemill_workloads.settings import read_config
from tidemill_workloads.validation import Plan, validate

if TYPE_CHECKING:
    from tidemill_api.job_contract import Outcome
    from tidemill_workloads.storage import Folder, Input

log = logging.getLogger("tidemill_workloads")


def main() -> int:
    """Exit code of a job that ends here; does not return where there are rows to run."""
    set_up_logging()
    config = read_config()
    tail = LogTail.attach()
    try:
        ready = end_job(config) if config.ending else prepare(config)
    except JobRefused as refusal:
        tail.keep(config, refusal)
        say(refused(refusal, config))
        return EXIT_USER
    except Superseded as ended:
        log.warning("%s", ended)
        return EXIT_BUG
    except Exception:  # the outermost boundary: a bug is logged loudly, here and beside the output
        log.critical("the job failed before its driver began", exc_info=True)
        tail.keep(config)
        return EXIT_BUG
    if isinstance(ready, Claim):
        become_driver(ready)
    else:
        say(ready)
    return EXIT_OK


def prepare(config: JobConfig) -> Claim | Outcome:
    """All that stands before the first row: an attempt with a validated input, or the outcome of a job already done.

    Raises JobRefused for everything that the user has to mend, Superseded where a newer attempt is at work.
    """
    log.info("job %s/%s, attempt %d", config.namespace, config.name, config.attempt)
    folder = open_output(config.output_uri, config.mounts)
    if config.attempt > 1 and belongs_to(folder, config) and (outcome := standing_outcome(folder)) is not None:
        log.info("the manifest stands: an earlier attempt of this job has finished it")
        return outcome  # whatever became of the input since
    source = None if _copy_stands(config, folder) else _own(config, folder)
    if (outcome := standing_outcome(folder)) is not None:
        log.info("the manifest stands: nothing to run")
        return outcome
    check_model(config.model, config.mounts)
    validated = source is None or read_index(folder) is not None
    earlier = None if validated else open_earlier(config, folder)
    claim = Claim.next(folder)
    log.info("attempt %d of the output folder %s", claim.number, config.output_uri)
    if source is not None and not validated:
        _validate(config, source.settled(folder), claim, earlier)
    return claim


def _copy_stands(config: JobConfig, folder: Folder) -> bool:
    """Whether an earlier attempt has left a copy of the input: its server, which may be gone, is asked no more."""
    if config.attempt == 1 or not belongs_to(folder, config):
        return False
    index = read_index(folder)
    return index is not None and standing_copy(config.input_uri, index.state, folder) is not None


def _own(config: JobConfig, folder: Folder) -> Input:
    """The input, with the folder made this job's. Raises JobRefused."""
    source = open_input(config.input_uri, config.mounts, config.allow_loopback_input)
    refuse_input_in_own_folders(source, folder)
    own_folder(folder, config, source.identity)
    return source


def _validate(config: JobConfig, source: Input, claim: Claim, earlier: Folder | None) -> None:
    """Leaves the chunk index, and the lines of the rows that need not be run."""
    metrics = LiveMetrics(config)
    metrics.phase("validating")
    metrics.validated(0)
    metrics.serve()
    log.info("validating %s (%d bytes)", public(config.input_uri), source.identity.size)
    forget_preparations(claim.folder)
    custom_ids = CustomIds()
    with Judge.of(EngineSettings(config.model, config.gpus_per_worker)) as rules:
        plan = Plan(rules, config.workers_max, skip=config.on_invalid == "Skip")
        index = validate(source, claim, plan, metrics.validated, custom_ids)
    log.info("%d rows in %d chunks, %d bad lines", index.rows, len(index.chunks), index.invalid)
    if earlier is not None:
        taken_over = take_over(earlier, claim.folder, index, custom_ids)
        index = msgspec.structs.replace(index, taken_over=taken_over)
    claim.check()
    write_index(claim.folder, index)


def become_driver(claim: Claim) -> None:
    """Replaces this process by the driver, which holds `claim` from now on."""
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-m", "tidemill_workloads.driver", str(claim.number)]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and module


if __name__ == "__main__":
    sys.exit(main())
