"""Records what Prometheus would store of the operator, in virtual time, and asks the real promtool what the alerts say.

The figures come from the operator's own collector over a watch cache; only the objects in it and the clock are made up.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry

from tidemill_operator.cache import WatchCache, Watched
from tidemill_operator.collector import QueueCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ROOT = Path(__file__).parents[1]
RULES = ROOT / "charts" / "tidemill" / "files" / "alerts.yaml"
PROMTOOL = ROOT / ".tidemill" / "bin" / "promtool"

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
INTERVAL = 15
"""Seconds between two scrapes, and between two evaluations."""

JOB, ENDPOINT = "BatchInferenceJob", "RealtimeEndpoint"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def body(name: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    """A job or an endpoint in namespace `team`, created at the start of the recording."""
    metadata = {"namespace": "team", "name": name, "uid": name, "creationTimestamp": START.isoformat()}
    return {"metadata": metadata, "spec": dict(spec), "status": dict(status)}


def scrape(caches: Mapping[str, WatchCache], second: float) -> Samples:
    """What the operator that leads serves so many seconds after the start, and that it does."""
    registry = CollectorRegistry()
    registry.register(QueueCollector(caches, now=lambda: START + timedelta(seconds=second)))
    samples = (sample for family in registry.collect() for sample in family.samples)
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    return found | {("tidemill_operator_leader", frozenset()): 1.0}


def operator_with(
    jobs: Iterable[dict[str, Any]] = (), endpoints: Iterable[dict[str, Any]] = ()
) -> Mapping[str, WatchCache]:
    """The operator's caches with these objects in them."""
    caches = {JOB: WatchCache(JOB), ENDPOINT: WatchCache(ENDPOINT)}
    for kind, bodies in ((JOB, jobs), (ENDPOINT, endpoints)):
        for one in bodies:
            caches[kind].put(Watched.JOBS, one)
    return caches


@dataclass
class Recording:
    """Series as Prometheus stores them: a series that is not in a scrape is stale from there on."""

    series: dict[tuple[str, frozenset[tuple[str, str]]], list[str]] = field(default_factory=dict)
    scrapes: int = 0

    def add(self, samples: Samples) -> None:
        """One more scrape."""
        for key in samples.keys() - self.series.keys():
            self.series[key] = ["_"] * self.scrapes
        for key, values in self.series.items():
            before = values[-1] if values else "_"
            values.append(repr(samples[key]) if key in samples else "_" if before in ("_", "stale") else "stale")
        self.scrapes += 1

    def input_series(self) -> list[dict[str, str]]:
        """As promtool takes them."""
        return [
            {
                "series": f"{name}{{{','.join(f'{k}={json.dumps(v)}' for k, v in sorted(labels))}}}",
                "values": " ".join(values),
            }
            for (name, labels), values in self.series.items()
        ]


def record(seconds: int, what: Callable[[int], Samples]) -> Recording:
    """A recording of so many seconds; `what` gives the samples of the scrape at a second."""
    recording = Recording()
    for second in range(0, seconds + INTERVAL, INTERVAL):
        recording.add(what(second))
    return recording


def firing(recording: Recording, expected: Mapping[int, set[tuple[str, str]]], folder: Path) -> None:
    """Fails unless at each of these seconds exactly these alerts fire: (name of the alert, name of the object)."""
    tests = [
        {
            "expr": 'count by (alertname, name) (ALERTS{alertstate="firing"})',
            "eval_time": f"{second}s",
            "exp_samples": [{"labels": _labels(alert, name), "value": 1} for alert, name in sorted(alerts)],
        }
        for second, alerts in expected.items()
    ]
    test = {"interval": f"{INTERVAL}s", "input_series": recording.input_series(), "promql_expr_test": tests}
    file = folder / "test.yaml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": f"{INTERVAL}s", "tests": [test]}))
    assert PROMTOOL.exists(), f"{PROMTOOL} is missing: run ./hack/setup.sh"
    done = subprocess.run(
        [str(PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _labels(alert: str, name: str) -> str:
    return f'{{alertname="{alert}", name="{name}"}}' if name else f'{{alertname="{alert}"}}'
