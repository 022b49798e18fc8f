"""The dashboards' queries: each names only what is served, and the real Prometheus has an answer to each.

The pages that it scrapes are those of the real collector, ingress and engine figures; the objects and the requests in
them are made up. `tests/e2e/test_alerts.py` asks the batch dashboard about a job that really ran.
"""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from alert_recording import ENDPOINT, JOB, body, operator_with
from dashboard_queries import DASHBOARDS, panels, queries
from metric_names import every_series
from monitoring import Prometheus, prometheus, wait_until
from prometheus_client import CollectorRegistry, start_http_server

from tidemill_operator.cache import Watched
from tidemill_operator.collector import QueueCollector
from tidemill_operator.core.plan import CreateCluster
from tidemill_operator.metrics import (
    ALERT_NOTIFICATIONS,
    BUG,
    ERRORS,
    PROCESS_FAMILIES,
    RECONCILE_SECONDS,
    count_decision,
)
from tidemill_workloads.serving.desk import Desk
from tidemill_workloads.serving.figures import PORTS_VARIABLE, EngineFigures, IngressFigures, Labels
from tidemill_workloads.serving.frames import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ANSWER_SECONDS = 30
"""A rate needs two scrapes, a second apart."""


def job_status() -> dict[str, Any]:
    return {
        "rows": {"total": 100, "completed": 60, "failed": 1, "remaining": 39},
        "tokens": {"prompt": 1000, "completion": 500},
        "queue": {"depth": 39, "health": "Healthy", "reason": "WithinTarget", "completedPerSecond": "4"},
        "workers": {"desired": 3, "ready": 2},
        "forecast": {"finishTime": "2026-01-01T12:10:00Z", "chancePercent": 90, "workersNeeded": 5},
        "conditions": [{"type": "WindowAtRisk", "status": "False", "reason": "OnTrack"}],
    }


@pytest.fixture
def operator_page() -> Iterator[str]:
    """The operator's page over a job with a worker that began anew, and an endpoint."""
    spec = {"completionWindow": "3h", "workers": {"max": 4}, "resources": {"gpu": 1}}
    chat = {"queue": {"depth": 4, "ageRatio": "0.50", "health": "Healthy"}, "replicas": 2, "readyReplicas": 1}
    caches = operator_with([body("tickets", spec, job_status())], [body("chat", {"resources": {"gpu": 1}}, chat)])
    owner = [{"kind": JOB, "apiVersion": "tidemill.dev/v1alpha1", "name": "tickets"}]
    made = {"namespace": "team", "name": "tickets-1", "uid": "c", "ownerReferences": owner}
    caches[JOB].put(Watched.CLUSTERS, {"metadata": made})
    labels = {"ray.io/cluster": "tickets-1", "tidemill.dev/role": "worker"}
    pod = {"namespace": "team", "name": "w", "uid": "w", "labels": labels}
    caches[JOB].put(Watched.PODS, {"metadata": pod, "status": {"containerStatuses": [{"restartCount": 2}]}})
    registry = CollectorRegistry()
    for collector in (QueueCollector(caches), *PROCESS_FAMILIES):
        registry.register(collector)
    count_decision(ENDPOINT, CreateCluster(), (), 0)
    RECONCILE_SECONDS.labels("written").observe(0.01)
    ERRORS.labels(BUG).inc()
    ALERT_NOTIFICATIONS.labels("200").inc()
    server, thread = start_http_server(0, "127.0.0.1", registry)
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def pod_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], Callable[[], None]]]:
    """The pages of an ingress and of an engine with a request that waits, and what answers one more request."""
    monkeypatch.setenv(PORTS_VARIABLE, str(tmp_path))
    labels, desk = Labels("team/chat", "1", "a"), Desk()
    ingress, engine = IngressFigures(labels, desk, lambda: 1000), EngineFigures(labels, desk)
    ingress.serve()
    engine.serve()
    desk.admit(desk.arrive(time.monotonic()))

    def answer() -> None:
        ingress.first_token(0.2)
        ingress.used(Usage(10, 20))
        ingress.ended(200, 0.9)
        ingress.refused(429)

    ports = [(tmp_path / name).read_text() for name in ("ingress-a", "engine-a")]
    answer()
    yield [f"127.0.0.1:{port}" for port in ports], answer
    ingress.close()
    engine.close()


def test_every_panel_has_an_answer_from_a_prometheus_that_scraped_the_real_pages(
    operator_page: str, pod_pages: tuple[list[str], Callable[[], None]], tmp_path: Path
) -> None:
    pages, answer = pod_pages
    with prometheus(tmp_path / "prometheus", [operator_page, *pages]) as running:
        wait_until(lambda: len(running.query("up == 1")) == 3, 30, "a scrape of each page")
        answer()
        deadline = time.monotonic() + ANSWER_SECONDS
        while (left := unanswered(running)) and time.monotonic() < deadline:
            time.sleep(0.5)
        assert left == []


def unanswered(running: Prometheus) -> list[str]:
    """Panels without an answer; a query that Prometheus refuses fails the test."""
    asked = [(path.stem, title, expression) for path in DASHBOARDS for title, expression in queries(path, "team")]
    return [f"{name}: {title}" for name, title, expression in asked if not running.query(expression)]


def test_there_is_a_dashboard_for_batch_one_for_realtime_and_one_for_economy() -> None:
    assert [path.stem for path in DASHBOARDS] == ["batch-queue", "economy", "realtime"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_names_only_metrics_that_are_served(path: Path) -> None:
    variables = json.loads(path.read_text())["templating"]["list"]
    texts = [expression for _, expression in queries(path, "team")] + [str(variable["query"]) for variable in variables]
    assert {name for text in texts for name in re.findall(r"\btidemill_\w+", text)} <= every_series()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_says_what_it_shows_and_no_two_lie_over_each_other(path: Path) -> None:
    assert all(panel["title"] and panel["description"] for panel in panels(path))
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels(path))
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
