"""Where the time to the first token of one request alone goes: `realtime_overhead.py --where`.

The endpoint's engine notes when a request reaches vLLM's server and when its first body leaves it; the client notes
when it sends and when the first text comes. Between lie Service, ingress, Serve's handle and frames.
"""

from __future__ import annotations

import shutil
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from command_line import table
from load import Load, Pace
from timed_vllm_server import NOTES_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from command_line import Steps
    from endpoint_cluster import EndpointCluster
    from load import Answer, Target
    from traffic import Traffic

ENGINE_MOUNT, NOTES_MOUNT = "/bench-engine", "/bench-notes"
ROUND_TRIPS = 50


@dataclass(frozen=True)
class TimedEngine:
    """What the pods need to note times, and where the notes are on this machine."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the pods."""
        return {
            "TIDEMILL_ENGINE": "timed_vllm_server:create",
            "PYTHONPATH": ENGINE_MOUNT,
            NOTES_VARIABLE: f"{NOTES_MOUNT}/notes",
        }

    def mounts(self) -> dict[str, Path]:
        """Folders of the pods, made here."""
        engine, notes = self.folder / "engine", self.folder / "notes"
        engine.mkdir()
        notes.mkdir()
        notes.chmod(0o777)
        shutil.copy(Path(__file__).with_name("timed_vllm_server.py"), engine)
        return {ENGINE_MOUNT: engine, NOTES_MOUNT: notes}

    def take_notes(self) -> dict[int, tuple[float, float]]:
        """When each request reached the server and when its first body left, by number; the notes begin anew."""
        file = self.folder / "notes" / "notes"
        lines = [line.split() for line in file.read_text().splitlines()]
        file.unlink()
        return {int(number): (float(reached), float(first)) for number, reached, first in lines}


@dataclass(frozen=True)
class Way:
    """Medians of one way, in seconds; of a server that notes nothing only the whole and the round trip."""

    name: str
    whole: float
    round_trip: float
    to_engine: float | None = None
    in_engine: float | None = None
    back: float | None = None

    @classmethod
    def of(cls, name: str, answers: Sequence[Answer], notes: dict[int, tuple[float, float]], round_trip: float) -> Way:
        """Of answers and what the engine noted of them."""
        whole = median(answer.first - answer.sent for answer in answers)
        noted = [(answer, *notes[answer.number]) for answer in answers if answer.number in notes]
        if not noted:
            return cls(name, whole, round_trip)
        return cls(
            name,
            whole,
            round_trip,
            to_engine=median(reached - answer.sent for answer, reached, _ in noted),
            in_engine=median(first - reached for _, reached, first in noted),
            back=median(answer.first - first for answer, _, first in noted),
        )

    def cells(self) -> tuple[str, ...]:
        """Its line of the table, milliseconds."""
        parts = (self.whole, self.to_engine, self.in_engine, self.back, self.round_trip)
        return (self.name, *("" if part is None else f"{part * 1000:.2f}" for part in parts))


def first_token_report(
    cluster: EndpointCluster, bare: Target, traffic: Traffic, engine: TimedEngine, count: int, steps: Steps
) -> str:
    """One request at a time by each way, and the table of where its time goes."""
    targets = {
        "bare server": bare,
        "endpoint, by its Service": cluster.target(),
        "ingress on the engine's pod, past the Service": cluster.pod_target("worker"),
        "ingress on the head's pod, past the Service": cluster.pod_target("head"),
    }
    ways = []
    for seed, (name, target) in enumerate(targets.items(), start=100):
        steps.begin(f"one request at a time: {name}", total=count)
        load = Load(traffic.requests(count, seed), Pace("closed", 1), traced=True)
        answers = load.run(target, steps.at)
        notes = {} if target is bare else engine.take_notes()
        ways.append(Way.of(name, answers, notes, round_trip_seconds(target)))
    header = ("one request at a time, ms", "TTFT p50", "to vLLM's server", "in vLLM", "back", "GET /v1/models")
    return f"\n{table(header, [way.cells() for way in ways])}"


def round_trip_seconds(target: Target) -> float:
    """What a request costs that no engine answers, over a new connection each: median."""
    seconds = []
    for _ in range(ROUND_TRIPS):
        request = urllib.request.Request(f"{target.url}/v1/models", headers={"Authorization": f"Bearer {target.key}"})  # noqa: S310 - our own
        began = time.perf_counter()
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - our own
            answer.read()
        seconds.append(time.perf_counter() - began)
    return median(seconds)
