"""The operator among many jobs: thousands that are finished, a hundred that run, one API server, for some minutes.

The API server is the dev cluster's, alone, and counts every request; the operator is the real one, a process of its
own with its default settings. KubeRay and Ray's heads are stand-ins of this benchmark (`control_plane_world.py`).
Meanwhile people edit running jobs. Prints a Markdown table, and exits 1 where a bound is broken: no request at all
about a finished job, 99 of 100 reconciles within a second.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import aiohttp
import psutil
from common import table
from control_plane_world import (
    FINISHED,
    JOBS,
    NAMESPACE,
    RUNNING,
    Heads,
    KubeRay,
    copy_finished,
    create_finished,
    create_running,
)
from prometheus_client.parser import text_string_to_metric_families

from devcluster import definitions
from devcluster.client import EVENTS, NAMESPACES, Client
from devcluster.loading import load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from prometheus_client.samples import Sample

HERE = Path(__file__).resolve().parent
BOUND_SECONDS = 1.0
EDIT_EVERY_SECONDS = 0.2
START_SECONDS = 300.0
CACHE_FULL = "the cache is full"
HISTOGRAM = "tidemill_operator_reconcile_seconds"
QUEUE_LENGTH = "tidemill_operator_queue_length"


def main() -> int:
    """Exit code 0 where the bounds hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--finished", type=int, default=10_000, help="finished jobs (default 10000)")
    parser.add_argument("--running", type=int, default=100, help="running jobs (default 100)")
    parser.add_argument("--seconds", type=float, default=120, help="length of the measurement (default 120)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that nothing is left running
    found = Found(options.finished, options.running)
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as scratch:
        folder = Path(scratch)
        with api_server(folder):
            name = asyncio.run(prepare(folder))
        copy_finished(folder / "data", name, options.finished)
        with api_server(folder):
            asyncio.run(measure(folder, found, options.seconds))
    print(table(("figure", "measured", "bound"), found.rows()))
    return 0 if found.holds() else 1


@dataclass
class Found:
    """What was measured. Seconds; latencies as (50th, 99th percentile)."""

    finished: int
    running: int
    cache_seconds: float = 0.0
    seen_seconds: float = 0.0
    api_calls: list[str] = field(default_factory=list)
    ray_calls: int = 0
    reconcile: tuple[float, float] = (0.0, 0.0)
    reconciles: int = 0
    edits: list[float] = field(default_factory=list)
    writes: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu_share: float = 0.0
    memory_mib: float = 0.0

    def edit(self) -> tuple[float, float]:
        """From a person's edit to the status that knows of it: both ways through the API server included."""
        return percentiles(self.edits)

    def holds(self) -> bool:
        """Whether every bound holds."""
        quick = max(self.reconcile[1], self.edit()[1]) < BOUND_SECONDS
        return quick and not self.api_calls and not self.ray_calls

    def rows(self) -> list[tuple[str, str, str]]:
        """The table."""
        return [
            ("jobs finished / running", f"{self.finished} / {self.running}", ""),
            ("operator's start to cache full", f"{self.cache_seconds:.1f} s", ""),
            ("start until every job was looked at", f"{self.seen_seconds:.1f} s", ""),
            ("API calls that name a finished job", str(len(self.api_calls)), "0"),
            ("Ray calls for a finished job", str(self.ray_calls), "0"),
            ("statuses written a second", f"{self.reconciles / self.seconds:.0f}", ""),
            ("look due to status written, p50 / p99", milliseconds(self.reconcile), "p99 < 1000 ms"),
            (f"edit to status, p50 / p99 of {len(self.edits)}", milliseconds(self.edit()), "p99 < 1000 ms"),
            ("of it the API server for a write, p50 / p99", milliseconds(percentiles(self.writes)), ""),
            ("operator's CPU", f"{self.cpu_share:.0%} of a core", ""),
            ("operator's resident memory", f"{self.memory_mib:.0f} MiB", ""),
        ]


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """The 50th and the 99th. Raises SystemExit where nothing was measured."""
    if not seconds:
        raise SystemExit("nothing was measured: give it more --seconds")
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2], ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]


def milliseconds(pair: tuple[float, float]) -> str:
    """Both percentiles for people."""
    return " / ".join(f"{seconds * 1000:.0f}" for seconds in pair) + " ms"


async def prepare(folder: Path) -> str:
    """The definitions, the namespace and one finished job, whose name is returned."""
    await load(folder / "kubeconfig", definitions.wanted())
    async with Client.from_kubeconfig(folder / "kubeconfig") as client:
        await client.create(NAMESPACES, None, {"metadata": {"name": NAMESPACE}})
        return await create_finished(client)


async def measure(folder: Path, found: Found, seconds: float) -> None:
    """Starts the operator among the jobs and watches both."""
    async with Client.from_kubeconfig(folder / "kubeconfig") as client, Heads(found.running) as heads:
        await create_running(client, found.running)
        before = len(requests(folder))
        async with background(KubeRay(client, heads.addresses).run()):
            with Operator(folder) as operator:
                await start(operator, heads, found)
                warm = len(requests(folder))
                await watch_for(operator, client, found, seconds)
        written = [line.split() for line in requests(folder)[warm:] if "/status " in line]
        found.writes = [float(taken) for _, _, taken in written]
        found.api_calls = [line for line in requests(folder)[before:] if f"/{FINISHED}-" in line]
        events, _ = await client.list(EVENTS, NAMESPACE)
        found.api_calls += [e["reason"] for e in events if e["involvedObject"]["name"].startswith(f"{FINISHED}-")]
        jobs, _ = await client.list(JOBS, NAMESPACE, f"bench={FINISHED}")
        if len(jobs) != found.finished:
            raise SystemExit(f"{len(jobs)} of {found.finished} finished jobs are left")
        found.ray_calls = sum(job["metadata"]["uid"] in heads.uids for job in jobs)


async def start(operator: Operator, heads: Heads, found: Found) -> None:
    """Until every job was looked at and every running one is at work."""

    async def cache_is_full() -> bool:
        return CACHE_FULL in operator.log.read_text()

    async def all_seen() -> bool:
        return await operator.figure(QUEUE_LENGTH) <= found.running

    async def all_at_work() -> bool:
        return heads.at_work() >= found.running

    found.cache_seconds = await operator.until(cache_is_full)
    found.seen_seconds = await operator.until(all_seen)
    say(f"every job looked at after {found.seen_seconds:.1f} s; waiting for {found.running} to be at work")
    await operator.until(all_at_work)


async def watch_for(operator: Operator, client: Client, found: Found, seconds: float) -> None:
    """The measurement proper: so many seconds of work, with edits."""
    say(f"measuring for {seconds:.0f} s")
    edits = Edits(client)
    before, began, cpu = await operator.latencies(), time.monotonic(), operator.cpu_seconds()
    async with background(edits.watch()), background(edits.make(found.running)):
        await asyncio.sleep(seconds)
    found.seconds = time.monotonic() - began
    found.cpu_share = (operator.cpu_seconds() - cpu) / found.seconds
    after = await operator.latencies()
    found.reconciles = after.count - before.count
    found.reconcile = (after.quantile(0.5, before), after.quantile(0.99, before))
    found.memory_mib = operator.memory_mib()
    found.edits = edits.seconds


@dataclass
class Edits:
    """People who edit the window of running jobs, and wait for the status to know of it."""

    client: Client
    seconds: list[float] = field(default_factory=list)
    _made: dict[str, tuple[int, float]] = field(default_factory=dict)  # by job: generation and when it was asked for
    _observed: dict[str, int] = field(default_factory=dict)  # by job: the generation that its status knows

    async def make(self, running: int) -> None:
        """Edits a job now and then, never one whose last edit is still unanswered."""
        for number in itertools.count():
            await asyncio.sleep(EDIT_EVERY_SECONDS)
            name = f"{RUNNING}-{random.randrange(running):05d}"  # noqa: S311 - any job will do
            if name in self._made:
                continue
            asked = time.monotonic()
            body = {"spec": {"completionWindow": f"{241 + number % 200}m"}}
            edited = await self.client.patch(JOBS, NAMESPACE, name, body)
            self._made[name] = (edited["metadata"]["generation"], asked)
            self._answered(name)

    async def watch(self) -> None:
        """Notes how long each edit took."""
        async for kind, job in self.client.watch(JOBS, NAMESPACE, f"bench={RUNNING}"):
            if kind == "MODIFIED":
                name = job["metadata"]["name"]
                self._observed[name] = (job.get("status") or {}).get("observedGeneration", 0)
                self._answered(name)

    def _answered(self, name: str) -> None:
        generation, asked = self._made.get(name, (sys.maxsize, 0.0))
        if self._observed.get(name, 0) >= generation:
            self.seconds.append(time.monotonic() - asked)
            del self._made[name]


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
    """The real operator with its default settings. A context manager: it runs inside."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "operator.log"
        self._port = free_port()
        self._command = [sys.executable, "-P", "-m", "tidemill_operator", "--kubeconfig", str(folder / "kubeconfig")]
        self._command += ["--all-namespaces", "--health-port", "0"]

    def __enter__(self) -> Operator:
        environment = {**os.environ, "TIDEMILL_METRICS_PORT": str(self._port), "TIDEMILL_LOG_LEVEL": "INFO"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=environment, stdout=log, stderr=log)
        self._since = time.monotonic()
        self._seen = psutil.Process(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

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
        return float(self._seen.memory_info().rss) / 2**20

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


@asynccontextmanager
async def background(work: Any) -> AsyncIterator[None]:
    """Runs a coroutine meanwhile; an error of it is raised here."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def requests(folder: Path) -> list[str]:
    """Method, path and seconds of every request that the API server answered."""
    return (folder / "requests.log").read_text().splitlines()


def free_port() -> int:
    """A port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(text: str) -> None:
    """Progress, beside the table on standard output."""
    print(json.dumps({"bench": text}), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
