"""`driver.log` in the output folder: what the last attempt that failed had to say, for whoever reads the day after.

The pods are gone by then. Only the last part of our own log is kept, bounded, in memory until it is needed. Values of
environment variables that are secrets by their names are blotted out, whoever logged them.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections import deque
from typing import TYPE_CHECKING

from tidemill_api.conditions import Reason
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.identity import belongs_to
from tidemill_workloads.locations import open_output
from tidemill_workloads.manifest import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill_api.job_contract import JobConfig

LOG_FILE = "driver.log"
MAX_BYTES = 1 << 20
SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
SHORTEST_SECRET = 6
"""A shorter value would blot out ordinary words."""

UNWRITABLE = frozenset({Reason.OUTPUT_NOT_WRITABLE, Reason.STORAGE_UNREACHABLE})

log = logging.getLogger("tidemill_workloads")


class LogTail(logging.Handler):
    """The last `limit` bytes of what was logged, in whole records."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        super().__init__()
        self.limit = limit
        self.size = 0
        self.records = deque[bytes]()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))

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
                folder.replace(LOG_FILE, without_secrets(head.encode() + self.text(), os.environ))
        except (JobRefused, OSError) as error:
            log.warning("the log could not be kept beside the output: %s", error)


def without_secrets(text: bytes, environment: Mapping[str, str]) -> bytes:
    """`text` without the values of variables whose names say that they are secret."""
    secrets = {value for name, value in environment.items() if SECRET_NAME.search(name)}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret.encode(errors="surrogateescape"), b"***")
    return text
