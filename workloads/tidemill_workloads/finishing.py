"""The end of a job that is cut short: every row without a line gets an error line, then join and manifest.

Needs no Ray, no engine and no worker. Runs in the entry point's own process for a job that was cancelled or whose
window is over, and in the driver for one with too many failed rows. The lines go straight into the joined files, so a
kill at any moment leaves the parts as they were and the next attempt begins anew.

An end waits for its output only. Where the input cannot be read any more, or is another one, the chunk index still
tells how many rows there are and on which lines: they get their error lines without a custom_id, which is said.

Rows that were not run count as failed, and apart as `unanswered`, in the manifest and in the message. The codes are
those of the OpenAI Batch API, `batch_expired` and `batch_cancelled`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.identity import Claim, belongs_to
from tidemill_workloads.index import read_index
from tidemill_workloads.locations import open_output, validated_input
from tidemill_workloads.manifest import finalise, standing_outcome
from tidemill_workloads.metrics import LiveMetrics
from tidemill_workloads.outcomes import Cut
from tidemill_workloads.output_lines import error_payload
from tidemill_workloads.parts import ERROR, PartLine
from tidemill_workloads.rows import chunk_rows
from tidemill_workloads.validation_report import VALIDATION_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

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
    Raises JobRefused where the output cannot be used, and Superseded where a newer attempt is at work.
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
    return finish(config, claim, _source(config, folder, index), index, cut)


def _nothing_run(cut: Cut, folder: Folder | None) -> Outcome:
    validation = folder.uri(VALIDATION_FILE) if folder is not None and folder.exists(VALIDATION_FILE) else ""
    message = f"{cut.message} The input was not validated before, so no row was run."
    return Outcome(reason=cut.reason, message=message, output=OutputURIs(validation=validation))


def _source(config: JobConfig, folder: Folder, index: Index) -> Input | JobRefused:
    """The input that the index belongs to, or why it cannot be read any more."""
    try:
        return validated_input(config, folder, index)
    except JobRefused as refusal:
        return _of_input(refusal)


def _of_input(refusal: JobRefused) -> JobRefused:
    """The refusal again where it is the input's. Raises any other one: an end waits for its output."""
    if not refusal.message.startswith("spec.input."):
        raise refusal
    return refusal


def finish(config: JobConfig, claim: Claim, source: Input | JobRefused, index: Index, cut: Cut) -> Outcome:
    """Writes an error line for every row without a line, the joined files and the manifest.

    `source` is the input, or why it cannot be read. Nobody may be writing parts any more. Raises JobRefused where the
    output cannot be used, and Superseded.
    """
    job = f"{config.namespace}/{config.name} {config.output_uri}"
    return finalise(config, claim, index, _Unanswered(source, cut, job))


@dataclass(slots=True)
class _Unanswered:
    """An `Ending` that makes the lines of rows which were not run: the same ones each time, so that attempts agree.

    An input that could not be read once is not asked again, since each time may take minutes.
    """

    source: Input | JobRefused
    why: Cut
    job: str
    nameless: int = 0

    @property
    def cut(self) -> Cut:
        """Why the job ends, and what is not known of its rows."""
        if not isinstance(self.source, JobRefused) or not self.nameless:
            return self.why
        cause = self.source.message.partition(";")[0]
        lacking = f"The lines of {self.nameless} rows lack their custom_id, since the input cannot be read ({cause})."
        return replace(self.why, message=f"{self.why.message} {lacking}")

    def lines(self, chunk: Chunk, answered: Collection[int]) -> Iterator[PartLine]:
        """See `Ending`."""
        code, message = _error(self.why)
        for line, custom_id in self._rows(chunk, answered):
            identifier = blake2b(f"{self.job} {line}".encode(), digest_size=16).hexdigest()
            where = f" {_place(chunk, line)}" if custom_id is None else ""
            yield PartLine(line, ERROR, 0, 0, 0, error_payload(identifier, custom_id or None, code, message + where))

    def _rows(self, chunk: Chunk, answered: Collection[int]) -> Iterable[tuple[int, str | None]]:
        """Line and custom_id of the rows that have no line; None where the input cannot tell the custom_id."""
        try:
            if not isinstance(self.source, JobRefused):
                data = self.source.read_range(chunk.offset, chunk.length)
                return [(row.line, row.custom_id) for row in chunk_rows(chunk, data, set(answered))]
        except JobRefused as refusal:
            self.source = _of_input(refusal)
            log.warning("rows that were not run get lines without their custom_id: %s", refusal.message)
        self.nameless += (rows := chunk.rows - len(answered))
        free = (line for line in chunk.line_range if line not in answered)
        return [(line, None) for line in islice(free, rows)]


def _place(chunk: Chunk, line: int) -> str:
    lines = chunk.line_range
    where = f"line {line}" if chunk.contiguous else f"one of the lines {lines[0]} to {lines[-1]}"
    return f"It stands on {where} of the input, which cannot be read any more, so its custom_id is not known."


def _error(cut: Cut) -> tuple[str, str]:
    """Code and message of the line of a row that was not run."""
    if cut.reason == Reason.EXPIRED:
        return "batch_expired", "This request could not be executed before the completion window expired."
    if cut.reason == Reason.CANCELLED:
        return "batch_cancelled", "This request was cancelled before it was executed."
    return "batch_cancelled", f"This request was not executed, the job had ended: {cut.message}"
