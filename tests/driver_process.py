"""A batch driver as the operator would submit it: the entry point in a process, its log, its metrics, its files."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from prometheus_client.parser import text_string_to_metric_families

from tidemill_api.job_contract import CONFIG_VARIABLE, JobConfig, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class DriverProcess:
    """One attempt."""

    process: subprocess.Popen[bytes]
    log_path: Path

    @classmethod
    def start(cls, config: JobConfig, address: str, environment: dict[str, str], log_path: Path) -> Self:
        """Submits the entry point to the cluster at `address`."""
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "tidemill_workloads"],
                env=environment | {CONFIG_VARIABLE: config.model_dump_json(), "RAY_ADDRESS": address},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return cls(process, log_path)

    @property
    def log(self) -> str:
        """All that it said so far."""
        return self.log_path.read_text()

    def end(self, timeout: float = 90) -> tuple[int, Outcome | None]:
        """Exit code and outcome; the outcome must be the last line."""
        code = self.process.wait(timeout)
        outcome = Outcome.from_log(self.log)
        if outcome is not None:
            assert self.log.splitlines()[-1] == outcome.to_log_line()
        return code, outcome

    def kill(self) -> None:
        """Lost without a word."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Asked to stop."""
        self.process.send_signal(signal.SIGTERM)

    def wait_until(self, reached: Callable[[], bool], timeout: float = 60) -> None:
        """Waits for something to become true while the driver runs."""
        deadline = time.monotonic() + timeout
        while not reached():
            assert self.process.poll() is None, f"the driver ended: {self.log}"
            assert time.monotonic() < deadline, f"not reached: {self.log}"
            time.sleep(0.05)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Gauges by name, then by the value of their third label (node, phase) or the empty string."""
        ports = re.findall(r"metrics on port (\d+)", self.log)
        with urllib.request.urlopen(f"http://127.0.0.1:{ports[-1]}/metrics", timeout=5) as response:
            text = response.read().decode()
        found: dict[str, dict[str, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                extra = "".join(value for key, value in sample.labels.items() if key not in ("job", "attempt"))
                found.setdefault(sample.name, {})[extra] = sample.value
        return found


def durable_rows(output: Path) -> set[str]:
    """The custom_ids that have a line in a part now."""
    ids = set()
    for part in output.glob("parts/*/[!.]*.jsonl"):
        try:
            lines = part.read_text().splitlines()
        except FileNotFoundError:  # folded between the listing and the reading
            continue
        ids |= {json.loads(line)[5]["custom_id"] for line in lines}
    return ids


def finished_rows(output: Path) -> Counter[str]:
    """How often each custom_id stands in the two files together; in input order within each."""
    counted: Counter[str] = Counter()
    for name in ("results.jsonl", "errors.jsonl"):
        counted.update(json.loads(line)["custom_id"] for line in (output / name).read_text().splitlines())
    return counted
