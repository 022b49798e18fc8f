"""What the pipeline costs without a model: rows of 1 KB through validation, a no-op engine, join and manifest.

Runs the driver as the operator submits it, on a Ray cluster of a head and one worker on this machine, at a tenth of
the rows and at all of them; then once more with the driver killed at 90 %, measured from the resubmission to the
manifest. Validation is the real one, tokenizer included; only the engine is a stand-in (`no_op_engine.py`). Prints a
Markdown table and exits 1 where a goal is missed.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

sys.path.insert(0, str(Path(__file__).parent))

from command_line import Steps, parser, table
from common import MODEL, ROUND_TIMEOUT_SECONDS, TICKETS, clean_environment, ray_cluster, settings
from memory import PeakMemory, trees

from tidemill_api.job_contract import CONFIG_VARIABLE, ENGINE_VARIABLE, METRIC_ROWS_COMPLETED, JobConfig
from tidemill_workloads.index import INDEX_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

ROW_BYTES = 1024
GOAL_PROCESS = 20_000
GOAL_ALL = 8_000
GOAL_RESUME = 0.25
GOAL_GROWTH = 1.2
"""Peak memory of a part of the job against that with a tenth of the rows."""

KILLED_AT = 0.9
SAMPLE_SECONDS = 0.5

EXAMPLES = """
examples:
  .tidemill/venv/bin/python hack/bench/pipeline_overhead.py
      the README's figures: a million rows, about 4 minutes
  .tidemill/venv/bin/python hack/bench/pipeline_overhead.py --rows 100000
      about a minute; start-up weighs more, so rates are lower

how to read the table:
  validate, process, finalise   seconds until the chunk index stands, from the first answer to the last, and from
                                there to the driver's exit; all: from submission to exit, start-up included
  peak MiB                      resident memory of the driver, of its coordinator and of the engine's worker; a job
                                of ten times the rows should need hardly more
"""


def main() -> int:
    """Exit code 0 where every goal is met."""
    line = parser(__doc__, EXAMPLES)
    line.add_argument("--rows", type=int, default=1_000_000, help="rows of the large run (default 1000000)")
    line.add_argument("--scratch", type=Path, help="folder for 6 GB of scratch files (default: a temporary one)")
    options = line.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    os.environ[ENGINE_VARIABLE] = "no_op_engine:create"
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-", dir=options.scratch) as scratch, Steps() as steps:
        runs = [measure(Path(scratch), rows, steps) for rows in (options.rows // 10, options.rows)]
        resumed = measure_resumed(Path(scratch), options.rows, steps)
    print(report(runs))
    tenth, full = runs
    share = resumed / full.all
    growth = max(full.peak_mib[name] / tenth.peak_mib[name] for name in full.peak_mib)
    print(
        f"\nprocessing {full.rows / full.process:,.0f} rows/s (goal {GOAL_PROCESS:,}); all phases"
        f" {full.rows / full.all:,.0f} rows/s (goal {GOAL_ALL:,}); driver killed at {KILLED_AT:.0%}: {resumed:.1f} s"
        f" from resubmission to manifest, {share:.0%} of the full time (goal below {GOAL_RESUME:.0%}); no part's memory"
        f" grew more than {growth:.2f}-fold with ten times the rows (goal below {GOAL_GROWTH})"
    )
    fast = full.rows / full.process >= GOAL_PROCESS and full.rows / full.all >= GOAL_ALL
    return 0 if fast and share < GOAL_RESUME and growth < GOAL_GROWTH else 1


@dataclass(frozen=True, slots=True)
class Phases:
    """One whole run. Seconds of each phase and of all from submission to exit; peak resident MiB by whose it is."""

    rows: int
    validate: float
    process: float
    finalise: float
    all: float
    peak_mib: dict[str, float]


def measure(scratch: Path, rows: int, steps: Steps) -> Phases:
    """One run from submission to exit."""
    steps.begin(f"{rows:,} rows")
    with Attempt.running(scratch, rows) as attempt:
        ours = partial(trees, [psutil.Process()])  # no other cluster's on this machine
        driver = attempt.process.pid
        with PeakMemory(ours, lambda process: whose(process, driver), SAMPLE_SECONDS) as memory:
            validated = attempt.until((attempt.output / INDEX_FILE).exists)
            ended = attempt.end()
    manifest = attempt.manifest()
    first, last = (datetime.fromisoformat(manifest[name]).timestamp() for name in ("firstAnswerTime", "lastAnswerTime"))
    shutil.rmtree(attempt.output)
    found = Phases(rows, validated - attempt.started, last - first, ended - last, ended - attempt.started, memory.mib)
    steps.end(f"{rows:,} rows: {found.all:.1f} s")
    return found


def measure_resumed(scratch: Path, rows: int, steps: Steps) -> float:
    """Seconds from resubmission to exit after the driver was killed at 90 % of the rows."""
    steps.begin(f"{rows:,} rows, the driver killed at {KILLED_AT:.0%}")
    with Attempt.running(scratch, rows) as attempt:
        attempt.until(lambda: attempt.completed() >= KILLED_AT * rows)
        attempt.process.kill()
        attempt.process.wait()
        attempt.submit(number=2)
        ended = attempt.end()
        attempt.manifest()
        return ended - attempt.started


@dataclass(slots=True)
class Attempt:
    """A driver at work on a cluster and an output folder of its own."""

    scratch: Path
    output: Path
    source: Path
    rows: int
    address: str
    process: subprocess.Popen[bytes] = field(init=False)
    started: float = 0.0
    _cluster: ray_cluster | None = None

    @classmethod
    def running(cls, scratch: Path, rows: int) -> Self:
        """The first attempt over `rows` rows, submitted."""
        source = scratch / f"rows-{rows}.jsonl"
        if not source.exists():
            write_rows(source, rows)
        output = Path(tempfile.mkdtemp(prefix="output-", dir=scratch))
        attempt = cls(scratch, output, source, rows, "")
        attempt._cluster = ray_cluster().__enter__()
        attempt.address = attempt._cluster.address
        attempt.submit(number=1)
        return attempt

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        if self._cluster is not None:
            self._cluster.__exit__()

    @property
    def log(self) -> Path:
        """What the newest attempt says."""
        return self.scratch / "driver.log"

    def submit(self, number: int) -> None:
        """Starts an attempt as the operator does."""
        config = JobConfig(
            namespace="bench",
            name="overhead",
            attempt=number,
            model=settings().model,
            input_uri=str(self.source),
            output_uri=f"{self.output}/",
            workers_max=1,
            gpus_per_worker=0,
            mounts=(str(self.scratch), str(MODEL.parent)),
            metrics_port=0,
        )
        environment = clean_environment() | {CONFIG_VARIABLE: config.model_dump_json(), "RAY_ADDRESS": self.address}
        self.started = time.time()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tidemill_workloads"], env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def until(self, reached: Callable[[], bool]) -> float:
        """When something became true, in seconds since 1970. Ends the benchmark where the driver ended first."""
        while not reached():
            if self.process.poll() is not None:
                raise SystemExit(f"the driver ended early:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.02)
        return time.time()

    def end(self) -> float:
        """When the driver had ended, in seconds since 1970."""
        if self.process.wait(ROUND_TIMEOUT_SECONDS):
            raise SystemExit(f"the driver failed:\n{self.log.read_text()[-3000:]}")
        return time.time()

    def manifest(self) -> dict[str, Any]:
        """What the finished folder holds. Ends the benchmark unless every row was answered."""
        found: dict[str, Any] = json.loads((self.output / "manifest.json").read_text())
        if found["rows"]["completed"] != self.rows or found["rows"]["total"] != self.rows:
            raise SystemExit(f"not every one of {self.rows} rows was answered: {found['rows']}")
        return found

    def completed(self) -> float:
        """Rows that the driver counts as answered, 0 while it says nothing."""
        ports = re.findall(r"metrics on port (\d+)", self.log.read_text())
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports[-1]}/metrics", timeout=5) as response:
                text = response.read().decode()
        except (IndexError, urllib.error.URLError, OSError):
            return 0.0
        found = re.search(rf"^{METRIC_ROWS_COMPLETED}{{.*}} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0


def whose(process: psutil.Process, driver: int) -> tuple[str, ...]:
    """The group of a process: the driver's (validation included), the coordinator's, the worker's, or none."""
    if driver in (process.pid, process.ppid()):
        return ("driver",)
    title = " ".join(process.cmdline())
    if title.startswith("ray::CoordinatorActor"):
        return ("coordinator",)
    return ("worker",) if title.startswith("ray::") and "Worker" in title else ()


def write_rows(path: Path, rows: int) -> None:
    """Chat requests of 1 KB each, their text drawn from the example tickets, every custom_id of its own."""
    tickets = [json.loads(line) for line in TICKETS.read_text().splitlines() if line.strip()]
    words = " ".join(ticket["body"]["messages"][-1]["content"] for ticket in tickets).split()
    draw = random.Random(7)  # noqa: S311 - the same rows in every run
    text = (
        " ".join(draw.choices(words, k=200_000)).encode("ascii", "ignore").decode().replace("\\", "").replace('"', "'")
    )
    with path.open("w") as file:
        for number in range(rows):
            head = (
                f'{{"custom_id": "row-{number:08d}", "method": "POST", "url": "/v1/chat/completions", "body": {{'
                '"model": "smollm2", "max_tokens": 16, "temperature": 0, "messages": [{"role": "user", "content": "'
            )
            room = ROW_BYTES - len(head) - 6
            begin = draw.randrange(len(text) - room)
            file.write(f'{head}{text[begin : begin + room]}"}}]}}}}\n')


def report(runs: list[Phases]) -> str:
    """The table: a line for each number of rows."""
    header = ("rows", "validate s", "process s", "finalise s", "all s", "process rows/s", "all rows/s")
    whose = ("driver", "coordinator", "worker")
    lines = []
    for run in runs:
        seconds = (f"{value:.1f}" for value in (run.validate, run.process, run.finalise, run.all))
        rates = (f"{run.rows / run.process:,.0f}", f"{run.rows / run.all:,.0f}")
        lines.append((f"{run.rows:,}", *seconds, *rates, *(f"{run.peak_mib[name]:.0f}" for name in whose)))
    return table((*header, *(f"peak MiB {name}" for name in whose)), lines)


if __name__ == "__main__":
    sys.exit(main())
