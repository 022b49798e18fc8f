"""The audit log: what everybody who is judged by RBAC has asked for, one JSON line each.

`audit.jsonl` in the data folder; beyond a bound it becomes `audit.jsonl.1`, and the one before that is gone. Lines of
administrators are left out: they would say nothing about which rights are needed.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from devcluster.apiserver.access.attributes import Attributes
from devcluster.apiserver.access.authorizer import Decision
from devcluster.apiserver.access.users import User

FILE = "audit.jsonl"
_LARGEST_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Judged:
    """A request that was judged: whose it was, what it asked for and what came of it."""

    user: User
    attributes: Attributes
    decision: Decision


class AuditLog:
    """Appends to the log in a folder."""

    def __init__(self, folder: Path, largest_bytes: int = _LARGEST_BYTES) -> None:
        self._path = folder / FILE
        self._largest_bytes = largest_bytes
        self._file = self._open()

    def write(self, judged: Judged, code: int) -> None:
        """Add a line for a request that is answered with this HTTP status; a watch is written when it begins."""
        if self._file.tell() > self._largest_bytes:
            self._file.close()
            self._path.replace(self._path.with_name(FILE + ".1"))
            self._file = self._open()
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "user": judged.user.name,
            **judged.attributes._asdict(),
            "code": code,
            "allowed": judged.decision.allowed,
            "reason": judged.decision.reason,
        }
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self) -> IO[bytes]:
        return self._path.open("ab", buffering=0)
