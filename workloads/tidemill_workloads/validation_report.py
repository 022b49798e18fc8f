"""`validation.jsonl`: one object for each bad line, in the order of the lines, and what its reader is told in short."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from tidemill_api.conditions import Reason
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tidemill_workloads.storage import Folder

VALIDATION_FILE = "validation.jsonl"


@dataclass(frozen=True, slots=True)
class Report:
    """What stands in the file: how many of each code, and the first problem."""

    uri: str
    codes: Counter[str]
    first: Problem | None

    @property
    def lines(self) -> int:
        """Bad lines."""
        return self.codes.total() if self.first is not None and self.first.line is not None else 0

    def refusal(self, rows: int) -> JobRefused:
        """Why a job whose input has `rows` rows ends here, and what to do, in one sentence. Not for an empty report."""
        if self.first is None:
            raise ValueError("nothing is wrong with the input")
        if self.first.line is None:
            return JobRefused(Reason.VALIDATION_FAILED, f"spec.input.uri: {self.first.message}")
        by_code = ", ".join(f"{number} {code}" for code, number in self.codes.most_common())
        message = (
            f"{self._count(rows)} not a valid request ({by_code}), first line {self.first.line}: "
            f"{self.first.message} All are listed in {self.uri}; mend the input and create the job again"
        )
        return JobRefused(Reason.VALIDATION_FAILED, message, invalid_lines=self.lines)

    def _count(self, rows: int) -> str:
        if self.lines == rows > 1:
            return f"All {rows} lines are"
        return f"{self.lines} {'line is' if self.lines == 1 else 'lines are'}"


def write_report(folder: Folder, problems: Iterable[Problem]) -> Report:
    """Writes the file: empty where all lines are good."""
    codes: Counter[str] = Counter()
    first: Problem | None = None
    encoder = msgspec.json.Encoder()
    with folder.writing(VALIDATION_FILE) as file:
        for problem in problems:
            first = first or problem
            codes[problem.code] += 1
            file.write(encoder.encode(problem) + b"\n")
    return Report(folder.uri(VALIDATION_FILE), codes, first)


def read_report(folder: Folder) -> Iterator[Problem]:
    """The problems in the file."""
    decoder = msgspec.json.Decoder(Problem)
    return (decoder.decode(line) for line in folder.lines(VALIDATION_FILE))
