"""`manifest.json`: the last file that is written, and the word that a job is done.

While it does not stand, nothing is final; once it stands, every later attempt says its outcome again and runs nothing.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs, RowCounts, TokenCounts
from tidemill_workloads.errors import RowsMissing
from tidemill_workloads.identity import ATTEMPTS
from tidemill_workloads.index import INDEX_FILE
from tidemill_workloads.join import ERRORS_FILE, RESULTS_FILE, Totals, join
from tidemill_workloads.outcomes import Counts, verdict
from tidemill_workloads.parts import PARTS, STARTED
from tidemill_workloads.storage import COPIES
from tidemill_workloads.validation_report import VALIDATION_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from tidemill_api.job_contract import JobConfig
    from tidemill_workloads.identity import Claim
    from tidemill_workloads.index import Chunk, Index
    from tidemill_workloads.outcomes import Cut
    from tidemill_workloads.parts import PartLine
    from tidemill_workloads.storage import Folder, Writing

MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 2
"""2 tells reason and message; a file of version 1 has only the counts that they follow from."""


class Ending(Protocol):
    """A job cut short."""

    @property
    def cut(self) -> Cut:
        """Why; asked for when every line is written."""

    def lines(self, chunk: Chunk, answered: Collection[int]) -> Iterable[PartLine]:
        """The lines of the chunk's rows that were not run: of those that are not on the lines `answered`."""


class _Finished(Exception):  # noqa: N818 - not an error: another attempt was quicker
    """The manifest of another attempt stands already."""


@dataclass(frozen=True, slots=True)
class _Joined:
    totals: Totals
    results: Writing
    errors: Writing


def finalise(config: JobConfig, claim: Claim, index: Index, ending: Ending | None = None) -> Outcome:
    """Joins the parts, writes the files and then the manifest, and removes what is no longer needed.

    Rows without a line get the lines of `ending`. Raises RowsMissing where there are such rows and it is None,
    Superseded where a newer attempt is at work.
    """
    folder = claim.folder
    claim.check()
    try:
        joined = _join(claim, index, ending)
    except (RowsMissing, _Finished):
        if (outcome := standing_outcome(folder)) is not None:
            return outcome  # another attempt has finished meanwhile, and the parts that are missing went with it
        raise
    folder.create(MANIFEST_FILE, json.dumps(_content(config, claim, index, ending, joined), indent=2).encode() + b"\n")
    outcome = standing_outcome(folder)
    if outcome is None:
        raise FileNotFoundError(f"{folder.uri(MANIFEST_FILE)} was just written and is not there")
    return outcome


def _join(claim: Claim, index: Index, ending: Ending | None) -> _Joined:
    """The two files, whole and in their place, or as they were."""
    folder = claim.folder
    with folder.writing(RESULTS_FILE) as results, folder.writing(ERRORS_FILE) as errors:
        totals = join(folder, index, results, errors, ending.lines if ending else None)
        claim.check()
        if folder.exists(MANIFEST_FILE):  # parts go only after it stands: rows may have seemed to be missing
            raise _Finished
    return _Joined(totals, results, errors)


def standing_outcome(folder: Folder) -> Outcome | None:
    """The outcome that the manifest in the folder tells, or None. Sweeps what a killed attempt left behind."""
    data = folder.read(MANIFEST_FILE)
    if data is None:
        return None
    manifest = json.loads(data)
    for name in (PARTS, STARTED, INDEX_FILE.partition("/")[0], COPIES):
        folder.delete(name)
    for prefix in ("", ATTEMPTS):
        folder.sweep(prefix)
    rows = RowCounts(**{key: manifest["rows"][key] for key in RowCounts.model_fields})
    if manifest["version"] == 1:
        reason, message = verdict(Counts(**rows.model_dump()), None, None, folder.uri(ERRORS_FILE))
    else:
        reason, message = Reason(manifest["reason"]), manifest["message"]
    return Outcome(
        reason=reason,
        message=message,
        rows=rows,
        invalid_lines=manifest["rows"].get("invalid", 0),
        tokens=TokenCounts(**manifest["tokens"]),
        output=OutputURIs(
            results=folder.uri(RESULTS_FILE),
            errors=folder.uri(ERRORS_FILE),
            validation=folder.uri(VALIDATION_FILE),
        ),
    )


def _content(config: JobConfig, claim: Claim, index: Index, ending: Ending | None, joined: _Joined) -> dict[str, Any]:
    started = claim.first_claim_unix()
    ended = time.time()
    totals = joined.totals
    counts = Counts(
        total=totals.rows,
        completed=totals.completed,
        failed=totals.failed,
        invalid=index.invalid,
        unanswered=totals.unanswered,
        taken_over=index.taken_over,
    )
    errors_uri = claim.folder.uri(ERRORS_FILE)
    reason, message = verdict(counts, config.max_failed_rows, ending.cut if ending else None, errors_uri)
    return {
        "version": FORMAT_VERSION,
        "job": f"{config.namespace}/{config.name}",
        "attempt": claim.number,
        "reason": reason,
        "message": message,
        "rows": {"takenOver" if key == "taken_over" else key: number for key, number in asdict(counts).items()},
        "tokens": {"prompt": totals.prompt_tokens, "completion": totals.completion_tokens},
        "files": {
            RESULTS_FILE: {"bytes": joined.results.size, "sha256": joined.results.sha256()},
            ERRORS_FILE: {"bytes": joined.errors.size, "sha256": joined.errors.sha256()},
        },
        "startTime": timestamp(started),
        "completionTime": timestamp(ended),
        "wallSeconds": round(ended - started, 3),
        "firstAnswerTime": timestamp(totals.first_answer_ms / 1000) if totals.first_answer_ms else None,
        "lastAnswerTime": timestamp(totals.last_answer_ms / 1000) if totals.last_answer_ms else None,
    }


def timestamp(unix: float) -> str:
    """Seconds since 1970 as the files tell them: RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
