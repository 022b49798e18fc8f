"""The end of a job that is cut short: every row without a line gets an error line, then join and manifest.

Needs no Ray, no engine and no worker. Runs in the entry point's own process for a job that was cancelled or whose
window is over, and in the driver for one with too many failed rows. The lines go straight into the joined files, so a
kill at any moment leaves the parts as they were and the next attempt begins anew.

Rows that were not run count as failed, and apart as `unanswered`, in the manifest and in the message. The codes are
those of the OpenAI Batch API, `batch_expired` and `batch_cancelled`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs
from tidemill_workloads.identity import Claim, belongs_to
from tidemill_workloads.index import read_index
from tidemill_workloads.locations import open_input, open_output
from tidemill_workloads.manifest import Ending, finalise, standing_outcome
from tidemill_workloads.metrics import LiveMetrics
from tidemill_workloads.outcomes import Cut
from tidemill_workloads.output_lines import error_payload
from tidemill_workloads.parts import ERROR, PartLine
from tidemill_workloads.rows import chunk_rows
from tidemill_workloads.storage import input_changed
from tidemill_workloads.validation_report import VALIDATION_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tidemill_api.job_contract import JobConfig
    from tidemill_workloads.index import Chunk, Index
    from tidemill_workloads.storage import Folder, Input

log = logging.getLogger(__name__)

CANCELLED = Cut(Reason.CANCELLED, "The job was cancelled.")
EXPIRED = Cut(Reason.EXPIRED, "The completion window ended before every row was run.")
CUTS = {"Cancelled": CANCELLED, "Expired": EXPIRED}


def end_job(config: JobConfig) -> Outcome:
    """Ends a job whose `ending` is set, from whatever its output folder holds; never validates.

    A manifest that stands wins. Where no input was validated there are no rows to speak of and no file is written.
    Raises JobRefused, and Superseded where a newer attempt is at work.
    """
    cut = CUTS[str(config.ending)]
    folder = open_output(config.output_uri, config.mounts)
    if not belongs_to(folder, config):
        return _nothing_run(cut, None)
    if (outcome := standing_outcome(folder)) is not None:
        log.info("the manifest stands: an earlier attempt of this job has finished it")
        return outcome
    claim = Claim.next(folder)
    log.info("attempt %d of the output folder %s ends the job: %s", claim.number, config.output_uri, config.ending)
    index = read_index(folder)
    if index is None:
        return standing_outcome(folder) or _nothing_run(cut, folder)
    metrics = LiveMetrics(config)
    metrics.phase("finalising")
    metrics.serve()
    source = open_input(config.input_uri, config.mounts, config.allow_loopback_input).settled(folder)
    if source.identity.state != index.state:
        raise input_changed(config.input_uri)
    return finish(config, claim, source, index, cut.reason, cut.message)


def _nothing_run(cut: Cut, folder: Folder | None) -> Outcome:
    validation = folder.uri(VALIDATION_FILE) if folder is not None and folder.exists(VALIDATION_FILE) else ""
    message = f"{cut.message} The input was not validated before, so no row was run."
    return Outcome(reason=cut.reason, message=message, output=OutputURIs(validation=validation))


def finish(config: JobConfig, claim: Claim, source: Input, index: Index, reason: Reason, message: str) -> Outcome:
    """Writes an error line for every row without a line, the joined files and the manifest.

    `message` is one sentence that says why, without counts. Nobody may be writing parts any more. Raises JobRefused
    (InputChanged: a row's custom_id stands in the input only) and Superseded.
    """
    cut = Cut(reason, message)
    unanswered = _Unanswered(source, cut, f"{config.namespace}/{config.name} {config.output_uri}")
    return finalise(config, claim, source, index, Ending(cut, unanswered.lines))


@dataclass(frozen=True, slots=True)
class _Unanswered:
    """Makes the lines of rows that were not run: the same ones each time, so that attempts agree."""

    source: Input
    cut: Cut
    job: str

    def lines(self, chunk: Chunk, answered: Collection[int]) -> Iterator[PartLine]:
        code, message = self._error()
        data = self.source.read_range(chunk.offset, chunk.length)
        for row in chunk_rows(chunk, data, set(answered)):
            identifier = blake2b(f"{self.job} {row.line}".encode(), digest_size=16).hexdigest()
            payload = error_payload(identifier, row.custom_id or None, code, message)
            yield PartLine(row.line, ERROR, 0, 0, 0, payload)

    def _error(self) -> tuple[str, str]:
        if self.cut.reason == Reason.EXPIRED:
            return "batch_expired", "This request could not be executed before the completion window expired."
        if self.cut.reason == Reason.CANCELLED:
            return "batch_cancelled", "This request was cancelled before it was executed."
        return "batch_cancelled", f"This request was not executed, the job had ended: {self.cut.message}"
