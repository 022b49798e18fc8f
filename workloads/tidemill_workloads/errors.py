"""Every way in which an attempt ends early. Imports nothing of Ray and nothing of the engine.

    WorkloadError
    ├── JobRefused        the user has to mend something: becomes the outcome and exit code 3
    ├── Superseded        a newer attempt owns the output folder: this one stops, without an outcome
    ├── RowsMissing       the join found rows without a line: the driver runs them and joins again
    └── EngineDead        the engine process is gone: its actor ends so that Ray starts another

Anything else is a bug: it goes up to the log with its traceback, exit code 1, no outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidemill_api.conditions import Reason


class WorkloadError(Exception):
    """Base of all that is foreseen here."""


class JobRefused(WorkloadError):  # noqa: N818 - named for what happened, as the docstring above reads
    """Something that the user has to mend. `message` is one sentence that names the field and the fix."""

    def __init__(self, reason: Reason, message: str, invalid_lines: int = 0) -> None:
        super().__init__(reason, message, invalid_lines)  # all of it, so that it survives a trip through pickle
        self.reason = reason
        self.message = message
        self.invalid_lines = invalid_lines

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class Superseded(WorkloadError):  # noqa: N818 - named for what happened, as the docstring above reads
    """A higher attempt stands in the output folder."""


class RowsMissing(WorkloadError):  # noqa: N818 - named for what happened, as the docstring above reads
    """`chunks` have `rows` rows without a line."""

    def __init__(self, chunks: list[int], rows: int) -> None:
        super().__init__(chunks, rows)
        self.chunks = chunks
        self.rows = rows

    def __str__(self) -> str:
        return f"{self.rows} rows in {len(self.chunks)} chunks have no line"


class EngineDead(WorkloadError):  # noqa: N818 - named for what happened, as the docstring above reads
    """The engine can answer no further row."""
