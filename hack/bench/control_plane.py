"""The operator among many jobs: a hundred that run, beside thousands that are finished, and without these.

The API server is the dev cluster's, alone, and counts every request; the operator is the real one, a process of its
own with its default settings. KubeRay and Ray's heads are stand-ins of this benchmark (`control_plane_world.py`).
Meanwhile people edit running jobs. Prints both sides in a Markdown table, and exits 1 where a bound is broken beside
the finished jobs: no request at all about one of them, 99 of 100 reconciles within a second.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from command_line import Steps, parser
from control_plane_edits import Edits
from control_plane_jobs import FINISHED, JOBS, NAMESPACE, copy_finished, create_finished, create_running
from control_plane_processes import Operator, api_server, requests
from control_plane_report import SHARES, Latency, Side, Start, Work, report
from control_plane_world import Heads, KubeRay

from devcluster import definitions
from devcluster.client import EVENTS, NAMESPACES, Client
from devcluster.loading import load

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

CACHE_FULL = "the cache is full"
QUEUE_LENGTH = "tidemill_operator_queue_length"

MORE = """
examples:
  .tidemill/venv/bin/python hack/bench/control_plane.py
      the README's figures: 100 running jobs, beside 10,000 finished ones and alone; about 6 minutes
  .tidemill/venv/bin/python hack/bench/control_plane.py --finished 500 --seconds 20
      a first look in less than 2 minutes

how to read the table:
  look due to status written   from the watch event (or the end of a delay) that asks for a look at a job until its
                               status is written: what the operator's own histogram says, each job every 2 seconds
  edit to status               from a person's edit until a watch shows the status that knows of it: both ways
                               through the API server included
  API server, for a write      of these, what the API server of the dev cluster takes: no figure of the operator
  calls for finished jobs      requests of the operator that name one (lists name none), and of Ray; must be 0
"""


def main() -> int:
    """Exit code 0 where the bounds hold."""
    options = parse_arguments()
    with Steps() as steps:
        alone, among = (one_side(finished, options, steps) for finished in (0, options.finished))
    print(report(alone, among))
    return 0 if among.holds() else 1


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    line = parser(__doc__, MORE)
    line.add_argument("--finished", type=int, default=10_000, help="finished jobs of the full side (default 10000)")
    line.add_argument("--running", type=int, default=100, help="running jobs of both sides (default 100)")
    line.add_argument("--seconds", type=float, default=120, help="length of each side's measurement (default 120)")
    options = line.parse_args()
    if min(options.finished, options.running) < 1:
        line.error("--finished and --running must be 1 or more")
    return options


def one_side(finished: int, options: argparse.Namespace, steps: Steps) -> Side:
    """The operator among so many finished jobs, started anew on an API server of its own."""
    steps.begin(f"{finished} finished jobs: making them")
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as scratch:
        folder = Path(scratch)
        with api_server(folder):
            name = asyncio.run(prepare(folder, finished))
        if name:
            copy_finished(folder / "data", name, finished)
        with api_server(folder):
            side = asyncio.run(measure(folder, finished, options, steps))
    steps.end(f"{finished} finished jobs: looks {side.work.looks}, operator {side.work.memory_mib:.0f} MiB")
    return side


async def prepare(folder: Path, finished: int) -> str:
    """The definitions, the namespace and, if there are to be any, one finished job, whose name is returned."""
    await load(folder / "kubeconfig", definitions.wanted())
    async with Client.from_kubeconfig(folder / "kubeconfig") as client:
        await client.create(NAMESPACES, None, {"metadata": {"name": NAMESPACE}})
        return await create_finished(client) if finished else ""


async def measure(folder: Path, finished: int, options: argparse.Namespace, steps: Steps) -> Side:
    """Starts the operator among the jobs and watches both."""
    running = options.running
    async with Client.from_kubeconfig(folder / "kubeconfig") as client, Heads(running) as heads:
        await create_running(client, running)
        before = len(requests(folder))
        async with background(KubeRay(client, heads.addresses).run()):
            with Operator(folder) as operator:
                steps.begin(f"{finished} finished jobs: the operator starts", total=running)
                start = await started(operator, heads, steps)
                warm = len(requests(folder))
                steps.begin(f"{finished} finished jobs: measuring for {options.seconds:.0f} s", total=options.seconds)
                work = await watch_for(operator, Edits(client, running), options.seconds, steps)
        written = [line.split() for line in requests(folder)[warm:] if "/status " in line]
        jobs, _ = await client.list(JOBS, NAMESPACE, f"bench={FINISHED}")
        if len(jobs) != finished:
            raise SystemExit(f"{len(jobs)} of {finished} finished jobs are left")
        return Side(
            finished,
            running,
            start,
            work,
            writes=Latency.of([float(taken) for _, _, taken in written]),
            api_calls=await calls_for_finished(client, requests(folder)[before:]),
            ray_calls=sum(job["metadata"]["uid"] in heads.uids for job in jobs),
        )


async def calls_for_finished(client: Client, made: list[str]) -> int:
    """Requests that name a finished job in their path, and Events about one."""
    events, _ = await client.list(EVENTS, NAMESPACE)
    about = [event for event in events if event["involvedObject"]["name"].startswith(f"{FINISHED}-")]
    return len(about) + sum(f"/{FINISHED}-" in line for line in made)


async def started(operator: Operator, heads: Heads, steps: Steps) -> Start:
    """Waits until every job was looked at and every running one is at work."""
    running = len(heads.addresses)

    async def cache_is_full() -> bool:
        return CACHE_FULL in operator.log.read_text()

    async def all_seen() -> bool:
        return await operator.figure(QUEUE_LENGTH) <= running

    async def all_at_work() -> bool:
        steps.at(heads.at_work())
        return heads.at_work() >= running

    start = Start(await operator.until(cache_is_full), await operator.until(all_seen))
    await operator.until(all_at_work)
    return start


async def watch_for(operator: Operator, edits: Edits, seconds: float, steps: Steps) -> Work:
    """The measurement proper: so many seconds of work, with edits."""
    before, began, cpu = await operator.latencies(), time.monotonic(), operator.cpu_seconds()
    async with background(edits.watch()), background(edits.make()):
        while (passed := time.monotonic() - began) < seconds:
            steps.at(passed)
            await asyncio.sleep(min(1.0, seconds - passed))
    passed = time.monotonic() - began
    after = await operator.latencies()
    return Work(
        seconds=passed,
        written=after.count - before.count,
        looks=Latency(*(after.quantile(share, before) for share in SHARES)),
        edits=Latency.of(edits.seconds),
        edits_made=len(edits.seconds),
        cpu_share=(operator.cpu_seconds() - cpu) / passed,
        memory_mib=operator.memory_mib(),
    )


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


if __name__ == "__main__":
    sys.exit(main())
