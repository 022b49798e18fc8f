"""Parts: the durable lines of a chunk before the join, so that a row answered is never run again.

`parts/<chunk>/<writer>-<n>.jsonl`, create-only and never overwritten. One line of a part is a JSON array
`[line, kind, prompt_tokens, completion_tokens, answered_unix_ms, {the output line}]`: all that counting and joining
need stands before the output line, so neither has to parse it. Several parts may hold the same line number (two
attempts at once, a flush before a crash): the first valid one in name order counts, for everybody.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from tidemill_workloads.storage import Folder

PARTS = "parts"
STARTED = "started"
"""Folder of the markers of begun work, see `suspects`; goes with the parts."""

RESULT = b"result"
ERROR = b"error"

_LINE = re.compile(rb'^\[(\d+),"(result|error)",(\d+),(\d+),(\d+),(\{.*\})\]\n', re.MULTILINE)


class PartLine(NamedTuple):
    """One answered row: the input line it belongs to, what became of it, and the output line itself."""

    line: int
    kind: bytes
    prompt_tokens: int
    completion_tokens: int
    answered_ms: int
    payload: bytes

    def encode(self) -> bytes:
        """The line as it stands in a part, with its newline."""
        return b'[%d,"%b",%d,%d,%d,%b]\n' % self


def decode(part: bytes) -> list[PartLine]:
    """The answered rows of a part, in its order; lines that are not whole are left out."""
    return [
        PartLine(int(line), kind, int(prompt), int(completion), int(answered), payload)
        for line, kind, prompt, completion, answered, payload in _LINE.findall(part)
    ]


@dataclass(frozen=True, slots=True)
class ChunkParts:
    """The parts of one chunk."""

    folder: Folder
    chunk: int

    @property
    def prefix(self) -> str:
        """The folder of this chunk's parts."""
        return f"{PARTS}/{self.chunk:08d}"

    def names(self) -> list[str]:
        """The parts that stand now, in the order in which they count."""
        return self.folder.names(self.prefix)

    def lines(self, names: Iterable[str] | None = None) -> Iterator[PartLine]:
        """Every whole line of the parts (of `names` where given), in the order in which they count."""
        for name in self.names() if names is None else names:
            yield from self._read(name)

    def _read(self, name: str) -> list[PartLine]:
        return decode(self.folder.read(f"{self.prefix}/{name}") or b"")

    def answered(self, expected: Collection[int], names: list[str] | None = None) -> dict[int, PartLine]:
        """The line that counts for each of the `expected` line numbers that has one; others are no rows of ours.

        `names` are the parts if the caller has just listed them. A part that another attempt folds away while we read
        is found again in the fold: then we read anew.
        """
        names = self.names() if names is None else names
        while True:
            found: dict[int, PartLine] = {}
            for name in reversed(names):  # the first line in order is set last, and stands
                found |= {line.line: line for line in reversed(self._read(name))}
            standing = self.names()
            if set(names) <= set(standing):
                for foreign in found.keys() - set(expected):
                    del found[foreign]
                return found
            names = standing

    def write(self, name: str, lines: Iterable[PartLine]) -> None:
        """Makes a new part durable. Raises FileExistsError where the name is taken, which is a bug of ours."""
        if not self.folder.create(f"{self.prefix}/{name}", b"".join(line.encode() for line in lines)):
            raise FileExistsError(f"{self.prefix}/{name} is written twice")

    def fold(self, name: str, lines: dict[int, PartLine], folded: Iterable[str]) -> None:
        """Writes one part with all `lines` of the chunk, then removes the parts `folded`, which it covers."""
        self.write(name, (lines[number] for number in sorted(lines)))
        for other in folded:
            if other != name:
                self.folder.delete(f"{self.prefix}/{other}")
