"""The cause that an engine's own process wrote down before it ended.

vLLM loads the model in a process of its own, and of a failure there says only "see root cause above". That process
writes to the standard error of this one, which Ray leads into a file: what stands there since the start began is read.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass

LONGEST = 256 * 1024
"""Bytes of the log's end that are looked at."""

_PREFIX = re.compile(r"^(\([^()]* pid=\d+\) )?((DEBUG|INFO|WARNING|ERROR) [\d-]+ [\d:.]+ \[[^\]]*\] ?)?")
_RAISED = re.compile(r"^([A-Za-z_][\w.]*\.)?[A-Z]\w*(Error|Exception|Exit|Interrupt)\b: ?\S")


def cause_in(log: str) -> str:
    """The last exception that was raised, as `ValueError: what it says`; empty where none stands there."""
    lines = [_PREFIX.sub("", line).rstrip() for line in log.splitlines()]
    return next((line for line in reversed(lines) if _RAISED.match(line)), "")


def last_words(log: str) -> str:
    """The last line that says anything; empty where none does."""
    lines = (_PREFIX.sub("", line).strip() for line in reversed(log.splitlines()))
    return next((line for line in lines if line), "")


@dataclass(frozen=True, slots=True)
class StartLog:
    """Where this process's standard error stood when a start began."""

    position: int

    @classmethod
    def begin(cls) -> StartLog:
        """From now on."""
        return cls(_size_of_standard_error())

    def text(self) -> str:
        """What was written since then, its end at most; empty where standard error is no file."""
        end = _size_of_standard_error()
        if end <= self.position:
            return ""
        try:
            with open("/proc/self/fd/2", "rb") as file:  # noqa: PTH123 - a name of the kernel's, no path
                file.seek(max(self.position, end - LONGEST))
                return file.read(LONGEST).decode(errors="replace")
        except OSError:
            return ""


def _size_of_standard_error() -> int:
    found = os.fstat(2)
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
