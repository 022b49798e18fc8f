"""`driver.log` in the output folder: what the last attempt that failed had to say, for whoever reads the day after.

The pods are gone by then. Only the last part of our own log is kept, bounded, in memory until it is needed. Secrets are
blotted out (`discretion.py`), whoever logged them.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING

from tidemill_api.conditions import Reason
from tidemill_workloads.discretion import DiscreetFormatter, without_secrets
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.identity import belongs_to
from tidemill_workloads.locations import open_output
from tidemill_workloads.manifest import timestamp

if TYPE_CHECKING:
    from tidemill_api.job_contract import JobConfig

LOG_FILE = "driver.log"
MAX_BYTES = 1 << 20
UNWRITABLE = frozenset({Reason.OUTPUT_NOT_WRITABLE, Reason.STORAGE_UNREACHABLE})

log = logging.getLogger("tidemill_workloads")


class LogTail(logging.Handler):
    """The last `limit` bytes of what was logged, in whole records."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        super().__init__()
        self.limit = limit
        self.size = 0
        self.records = deque[bytes]()
        self.setFormatter(DiscreetFormatter())

    @classmethod
    def attach(cls) -> LogTail:
        """Listens to our own log and to what libraries say through the root logger."""
        tail = cls()
        for logger in (log, logging.getLogger()):
            logger.addHandler(tail)
        return tail

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one record and lets go of the oldest ones."""
        text = (self.format(record) + "\n").encode(errors="replace")[-self.limit :]
        self.records.append(text)
        self.size += len(text)
        while self.size > self.limit:
            self.size -= len(self.records.popleft())

    def text(self) -> bytes:
        """All that is kept, oldest first."""
        self.acquire()
        try:
            return b"".join(self.records)
        finally:
            self.release()

    def keep(self, config: JobConfig, refusal: JobRefused | None = None) -> None:
        """Writes what is kept beside the output, in the place of an earlier attempt's; called where an attempt failed.

        Nothing is written to a folder that is not this job's, or where writing is what failed. Never raises for a
        storage that does not take it: the attempt's own end must be told.
        """
        if refusal is not None and refusal.reason in UNWRITABLE:
            return
        why = str(refusal) if refusal is not None else "a bug or a fault of the cluster"
        ended = timestamp(time.time())
        head = f"job {config.namespace}/{config.name}, attempt {config.attempt}, ended {ended}: {why}\n"
        try:
            folder = open_output(config.output_uri, config.mounts)
            if belongs_to(folder, config):
                folder.replace(LOG_FILE, without_secrets(head).encode(errors="replace") + self.text())
        except (JobRefused, OSError) as error:
            log.warning("the log could not be kept beside the output: %s", error)
