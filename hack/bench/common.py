"""What the batch benchmarks share: the same rows and engine arguments for both sides, and what runs each side.

A side is one process tree started anew for each round, so that neither finds the other's caches.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import psutil
from memory import PeakMemory, trees

from tidemill_api.job_contract import CONFIG_VARIABLE, ENGINE_RESOURCE, JobConfig, Outcome
from tidemill_api.v1alpha1.common import EngineArgs, ModelSpec
from tidemill_workloads.engine.arguments import engine_arguments, engine_environment
from tidemill_workloads.engine.interface import EngineSettings

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / ".tidemill" / "models" / "smollm2"
TICKETS = ROOT / "hack" / "examples" / "tickets.jsonl"
TIMED_RUN_BATCH = Path(__file__).with_name("timed_run_batch.py")
ROUND_TIMEOUT_SECONDS = 1800
MEMORY_SAMPLE_SECONDS = 2.0
WHOLE, ENGINE = "whole", "engine"


def settings() -> EngineSettings:
    """The engine of the demo: float32, 2048 tokens, everything else as a job has it by default."""
    return EngineSettings(
        ModelSpec(name="smollm2", source=str(MODEL), engine_args=EngineArgs(dtype="float32", max_model_len=2048)),
        gpus=0,
    )


def write_rows(path: Path, count: int, tokens: int) -> None:
    """`count` rows of the example tickets, each with a number of its own and an answer of exactly `tokens` tokens."""
    tickets = [json.loads(line) for line in TICKETS.read_text().splitlines() if line.strip()]
    with path.open("w") as file:
        for number in range(count):
            ticket = json.loads(json.dumps(tickets[number % len(tickets)]))
            ticket["custom_id"] = f"row-{number:05d}"
            messages = ticket["body"]["messages"]
            messages[-1]["content"] += f" (reference {number})"
            ticket["body"] = {"model": "smollm2", "messages": messages, "temperature": 0}
            ticket["body"] |= {"max_tokens": tokens, "ignore_eos": True}  # no grammar: answers of one length
            file.write(json.dumps(ticket) + "\n")


@dataclass(frozen=True, slots=True)
class Run:
    """One side of one round. Seconds from first to last answer; memory in MiB, the sum of the tree's resident sets."""

    rows: int
    seconds: float
    wall_seconds: float
    peak_mib: float
    engine_mib: float
    completion_tokens: int

    @property
    def rate(self) -> float:
        """Rows a second at steady state."""
        return self.rows / self.seconds


def groups_of_a_side(process: psutil.Process) -> tuple[str, ...]:
    """Every process of a side counts for the whole, the engine's own also for the engine."""
    return (WHOLE, ENGINE) if process.name().startswith("VLLM") else (WHOLE,)


def memory_of(*roots: psutil.Process) -> PeakMemory:
    """The peak memory of these process trees."""
    return PeakMemory(lambda: trees(roots), groups_of_a_side, MEMORY_SAMPLE_SECONDS)


def clean_environment() -> dict[str, str]:
    """The environment of both sides: the engine's variables, nothing reported, no hub."""
    base = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TIDEMILL_", "VLLM_"))}
    base |= engine_environment(settings(), base)
    return base | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


def run_job(source: Path, scratch: Path, rows: int) -> Run:
    """The rows through a job's driver on a Ray cluster as a job has it: a head without CPUs and one worker."""
    config = JobConfig(
        namespace="bench",
        name="throughput",
        attempt=1,
        model=settings().model,
        input_uri=str(source),
        output_uri=f"{scratch}/output/",
        workers_max=1,
        gpus_per_worker=0,
        mounts=(str(scratch), str(source.parent), str(MODEL.parent)),
        metrics_port=0,
    )
    with ray_cluster() as cluster, (scratch / "driver.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidemill_workloads"],
            env=clean_environment() | {CONFIG_VARIABLE: config.model_dump_json(), "RAY_ADDRESS": cluster.address},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        roots = [psutil.Process(pid) for pid in (process.pid, *cluster.pids)]
        with memory_of(*roots) as memory:
            code = process.wait(ROUND_TIMEOUT_SECONDS)
    text = (scratch / "driver.log").read_text()
    outcome = Outcome.from_log(text)
    if code or outcome is None or outcome.rows.completed != rows:
        raise SystemExit(f"the job did not answer all rows:\n{text[-3000:]}")
    manifest = json.loads((scratch / "output" / "manifest.json").read_text())
    first, last = (datetime.fromisoformat(manifest[key]) for key in ("firstAnswerTime", "lastAnswerTime"))
    return Run(
        rows=rows,
        seconds=(last - first).total_seconds(),
        wall_seconds=manifest["wallSeconds"],
        peak_mib=memory.mib[WHOLE],
        engine_mib=memory.mib[ENGINE],
        completion_tokens=outcome.tokens.completion,
    )


def run_batch(source: Path, scratch: Path, rows: int) -> Run:
    """The rows through vLLM's own batch runner with the same engine arguments, its answers timed as they come."""
    times = scratch / "times.json"
    command = [sys.executable, str(TIMED_RUN_BATCH), str(times), "-i", str(source), "-o", str(scratch / "output.jsonl")]
    with (scratch / "run_batch.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *engine_arguments(settings())], env=clean_environment(), stdout=log, stderr=subprocess.STDOUT
        )
        with memory_of(psutil.Process(process.pid)) as memory:
            code = process.wait(ROUND_TIMEOUT_SECONDS)
    if code:
        raise SystemExit(f"vLLM's batch runner failed:\n{(scratch / 'run_batch.log').read_text()[-3000:]}")
    found: dict[str, Any] = json.loads(times.read_text())
    usages = [json.loads(line)["response"]["body"]["usage"] for line in (scratch / "output.jsonl").open()]
    return Run(
        rows=rows,
        seconds=found["last"] - found["first"],
        wall_seconds=found["ended"] - found["started"],
        peak_mib=memory.mib[WHOLE],
        engine_mib=memory.mib[ENGINE],
        completion_tokens=sum(usage["completion_tokens"] for usage in usages),
    )


@dataclass(slots=True)
class ray_cluster:  # noqa: N801 - used as a context manager, reads as a function
    """Head and one worker raylet, dashboard and all, as a job's pods run them."""

    address: str = ""
    pids: list[int] = field(default_factory=list)
    _cluster: Any = None

    def __enter__(self) -> Self:
        os.environ.update(clean_environment())  # the raylets hand it on to the engine
        from ray.cluster_utils import Cluster

        self._cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": True})
        self._cluster.add_node(num_cpus=0, resources={ENGINE_RESOURCE: 1})
        self.address = self._cluster.address
        nodes = self._cluster.list_all_nodes()
        self.pids = [info.process.pid for node in nodes for group in node.all_processes.values() for info in group]
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.shutdown()
