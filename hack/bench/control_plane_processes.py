"""The two processes that `control_plane.py` starts: the real operator, and an API server that counts requests."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import aiohttp
import psutil
from memory import MIB
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from prometheus_client.samples import Sample

HERE = Path(__file__).resolve().parent
START_SECONDS = 300.0
HISTOGRAM = "tidemill_operator_reconcile_seconds"


@dataclass(frozen=True)
class Latencies:
    """The operator's histogram: cumulative counts by upper bound, in seconds."""

    buckets: tuple[tuple[float, float], ...]

    @property
    def count(self) -> int:
        """Looks so far."""
        return int(self.buckets[-1][1]) if self.buckets else 0

    def quantile(self, share: float, before: Latencies) -> float:
        """As Prometheus' histogram_quantile, of what came since `before`."""
        earlier = dict(before.buckets)
        since = [(bound, count - earlier.get(bound, 0)) for bound, count in self.buckets]
        rank, low, below = share * since[-1][1], 0.0, 0.0
        for bound, count in since:
            if count >= rank and count > below:
                return low if bound == float("inf") else low + (bound - low) * (rank - below) / (count - below)
            low, below = bound, count
        return low


class Operator:
    """The real operator with its default settings, but for those given. A context manager: it runs inside."""

    def __init__(self, folder: Path, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        self.log = folder / "operator.log"
        self._settings = dict(settings)
        self._port = free_port()
        self._command = [sys.executable, "-P", "-m", "tidemill_operator", "--kubeconfig", str(folder / "kubeconfig")]
        self._command += ["--all-namespaces", "--health-port", "0"]

    def __enter__(self) -> Operator:
        environment = {**os.environ, "TIDEMILL_METRICS_PORT": str(self._port), "TIDEMILL_LOG_LEVEL": "INFO"}
        environment |= self._settings
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=environment, stdout=log, stderr=log)
        self._since = time.monotonic()
        self._seen = psutil.Process(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    @property
    def process(self) -> psutil.Process:
        """The operator's process."""
        return self._seen

    async def until(self, check: Callable[[], Awaitable[bool]]) -> float:
        """Seconds from the operator's start until the check holds. Raises SystemExit where it never does."""
        while not await check():
            if self._process.poll() is not None or time.monotonic() - self._since > START_SECONDS:
                raise SystemExit(f"the operator did not get on:\n{self.log.read_text()[-3000:]}")
            await asyncio.sleep(0.1)
        return time.monotonic() - self._since

    async def latencies(self) -> Latencies:
        """Its histogram of looks that wrote a status, as it is now."""
        return Latencies(
            tuple(
                (float(sample.labels["le"]), sample.value)
                for sample in await self._samples()
                if sample.name == f"{HISTOGRAM}_bucket" and sample.labels["outcome"] == "written"
            )
        )

    async def figure(self, name: str) -> float:
        """One of its gauges."""
        return next((sample.value for sample in await self._samples() if sample.name == name), float("inf"))

    async def _samples(self) -> list[Sample]:
        url = f"http://127.0.0.1:{self._port}/metrics"
        async with aiohttp.ClientSession() as session, session.get(url) as said:
            return [s for family in text_string_to_metric_families(await said.text()) for s in family.samples]

    def memory_mib(self) -> float:
        """Resident memory."""
        return float(self._seen.memory_info().rss) / MIB

    def cpu_seconds(self) -> float:
        """CPU time so far."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)


@contextmanager
def api_server(folder: Path) -> Iterator[None]:
    """The counting API server in a process of its own."""
    command = [sys.executable, "-P", str(HERE / "counted_api_server.py"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    (folder / "kubeconfig").unlink(missing_ok=True)  # a new one says that the server listens
    with (folder / "apiserver.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not (folder / "kubeconfig").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the API server did not start:\n{(folder / 'apiserver.log').read_text()}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def requests(folder: Path) -> list[str]:
    """Method, path and seconds of every request that the API server answered."""
    return (folder / "requests.log").read_text().splitlines()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
