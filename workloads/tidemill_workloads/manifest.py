"""`manifest.json`: the last file that is written, and the word that a job is done.

While it does not stand, nothing is final; once it stands, every later attempt says its outcome again and runs nothing.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs, RowCounts, TokenCounts
from tidemill_workloads.identity import ATTEMPTS
from tidemill_workloads.index import INDEX_FILE
from tidemill_workloads.join import ERRORS_FILE, RESULTS_FILE, Totals, join
from tidemill_workloads.parts import PARTS
from tidemill_workloads.storage import COPIES
from tidemill_workloads.validation import VALIDATION_FILE

if TYPE_CHECKING:
    from tidemill_api.job_contract import JobConfig
    from tidemill_workloads.identity import Claim
    from tidemill_workloads.index import Index
    from tidemill_workloads.storage import Folder, Input, Writing

MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 1


def finalise(config: JobConfig, claim: Claim, source: Input, index: Index) -> Outcome:
    """Joins the parts, writes the files and then the manifest, and removes what is no longer needed.

    Raises RowsMissing where rows have no line yet, Superseded where a newer attempt is at work.
    """
    folder = claim.folder
    claim.check()
    with folder.writing(RESULTS_FILE) as results, folder.writing(ERRORS_FILE) as errors:
        totals = join(folder, source, index, results, errors)
        claim.check()
    content = _content(config, claim, totals, results, errors)
    folder.create(MANIFEST_FILE, json.dumps(content, indent=2).encode() + b"\n")
    outcome = standing_outcome(folder)
    if outcome is None:
        raise FileNotFoundError(f"{folder.uri(MANIFEST_FILE)} was just written and is not there")
    return outcome


def standing_outcome(folder: Folder) -> Outcome | None:
    """The outcome that the manifest in the folder tells, or None. Sweeps what a killed attempt left behind."""
    data = folder.read(MANIFEST_FILE)
    if data is None:
        return None
    manifest = json.loads(data)
    for name in (PARTS, INDEX_FILE.partition("/")[0], COPIES):
        folder.delete(name)
    for prefix in ("", ATTEMPTS):
        folder.sweep(prefix)
    rows = RowCounts(**manifest["rows"])
    reason, message = verdict(rows, folder)
    return Outcome(
        reason=reason,
        message=message,
        rows=rows,
        tokens=TokenCounts(**manifest["tokens"]),
        output=OutputURIs(
            results=folder.uri(RESULTS_FILE),
            errors=folder.uri(ERRORS_FILE),
            validation=folder.uri(VALIDATION_FILE),
        ),
    )


def verdict(rows: RowCounts, folder: Folder) -> tuple[Reason, str]:
    """Reason and message of a job whose rows all have a line."""
    if not rows.failed:
        return Reason.ALL_ROWS_ANSWERED, f"All {rows.total} rows are answered."
    errors = folder.uri(ERRORS_FILE)
    if rows.completed:
        message = f"{rows.completed} of {rows.total} rows are answered, {rows.failed} failed: see {errors}"
        return Reason.SOME_ROWS_FAILED, message
    return Reason.ALL_ROWS_FAILED, f"All {rows.total} rows failed: see {errors}"


def _content(config: JobConfig, claim: Claim, totals: Totals, results: Writing, errors: Writing) -> dict[str, Any]:
    started = claim.first_claim_unix()
    ended = time.time()
    return {
        "version": FORMAT_VERSION,
        "job": f"{config.namespace}/{config.name}",
        "attempt": claim.number,
        "rows": {"total": totals.rows, "completed": totals.completed, "failed": totals.failed},
        "tokens": {"prompt": totals.prompt_tokens, "completion": totals.completion_tokens},
        "files": {
            RESULTS_FILE: {"bytes": results.size, "sha256": results.sha256()},
            ERRORS_FILE: {"bytes": errors.size, "sha256": errors.sha256()},
        },
        "startTime": _timestamp(started),
        "completionTime": _timestamp(ended),
        "wallSeconds": round(ended - started, 3),
        "firstAnswerTime": _timestamp(totals.first_answer_ms / 1000),
        "lastAnswerTime": _timestamp(totals.last_answer_ms / 1000),
    }


def _timestamp(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
