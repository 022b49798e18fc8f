"""Queue health from end to end: the operator's figures, the real Prometheus, the real Alertmanager, and back again.

The paced engine stands for vLLM; everything else is what a platform team runs.
"""

import json
import os
import secrets
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import pytest
from chaos_jobs import all_answered, start
from dashboard_queries import DASHBOARDS, queries
from monitoring import Alertmanager, Prometheus, alertmanager, hurried_rules, prometheus

from tidemill_api.labels import SCALING_BOOST

pytestmark = [pytest.mark.cluster, pytest.mark.all, pytest.mark.timeout(580)]

TARGET_SECONDS = 60
SOON_SECONDS = 5
"""The promise: so long after the oldest row crossed twice or three times its target, its health says so."""

WARNING, CRITICAL, MISSING = "TidemillJobQueueWarning", "TidemillJobQueueCritical", "TidemillSourceMissing"


@dataclass(frozen=True)
class Monitored:
    """The operator under the eyes of a Prometheus, whose alerts come back to it."""

    prometheus: Prometheus
    alertmanager: Alertmanager


METRICS_PORT, ALERTS_PORT = 9090, 9095


@pytest.fixture
def monitored(operator_session, tmp_path):
    """The operator with figures and webhook, as a platform team sets it; Prometheus and Alertmanager are beside it."""
    credentials = tmp_path / "credentials"
    credentials.write_text(secrets.token_hex(16))
    operator_session.ensure()
    words = ("create", "secret", "generic", "alerts", "-n", operator_session.namespace)
    operator_session.kubectl(*words, f"--from-file=credentials={credentials}")
    values = {
        "settings": {"metricsPort": METRICS_PORT, "alertsPort": ALERTS_PORT},
        "alertWebhook": {"credentialsSecret": "alerts"},
    }
    with operator_session.with_values(**values):
        webhook = f"http://{operator_session.service_address()}:{ALERTS_PORT}/alerts"
        targets = [f"{address}:{METRICS_PORT}" for address in operator_session.addresses()]
        with (
            alertmanager(tmp_path / "alertmanager", webhook, credentials) as manager,
            prometheus(tmp_path / "prometheus", targets, manager, hurried_rules(tmp_path)) as server,
        ):
            yield Monitored(server, manager)
    operator_session.kubectl("delete", "secret", "alerts", "-n", operator_session.namespace)


@contextmanager
def no_room(jobs):
    """No node takes a new pod meanwhile."""
    nodes = jobs.kubectl("get", "nodes", "-o", "name").split()
    jobs.kubectl("cordon", *nodes)
    try:
        yield
    finally:
        jobs.kubectl("uncordon", *nodes)


def head_runs(jobs):
    pods = jobs.kubectl.json("get", "pods", "-n", jobs.namespace, "-l", "ray.io/node-type=head")["items"]
    return any(pod["status"].get("phase") == "Running" for pod in pods)


def health(jobs):
    return jobs.get().get("status", {}).get("queue", {}).get("health")


def desired(jobs):
    return jobs.get().get("status", {}).get("workers", {}).get("desired", 0)


def boost(jobs):
    text = jobs.get()["metadata"].get("annotations", {}).get(SCALING_BOOST)
    return json.loads(text) if text else {}


def lateness(jobs, times):
    """Seconds since the job's only age became so many times its target."""
    created = datetime.fromisoformat(jobs.get()["metadata"]["creationTimestamp"]).timestamp()
    return time.time() - created - times * TARGET_SECONDS


def test_a_starved_job_warns_turns_critical_is_boosted_by_its_alerts_and_all_resolve_once_it_has_room(
    jobs, monitored, figure
):
    began = time.time()
    ids = start(jobs, rows=200, workers=4, least=0, seconds=0.8, targetCompletion="1m", completionWindow="20m")
    jobs.wait_until(lambda: head_runs(jobs), what="a head")
    with no_room(jobs):
        jobs.wait_until(lambda: desired(jobs) > 0, seconds=100, what="a wish for workers")
        for times, level, alert, factor in ((2, "Warning", WARNING, 1.5), (3, "Critical", CRITICAL, 2.0)):
            jobs.wait_until(lambda times=times: lateness(jobs, times) >= 0, what=f"{times} times the target")
            before = desired(jobs)
            jobs.wait_until(lambda level=level: health(jobs) == level, seconds=30, what=level)
            late = lateness(jobs, times)
            figure(f"{level} after {times} times the target by", late)
            assert late <= SOON_SECONDS
            wanted = (alert, "rows")
            jobs.wait_until(lambda wanted=wanted: wanted in monitored.prometheus.firing(), seconds=30, what=alert)
            figure(f"{alert} fires after", lateness(jobs, times))
            jobs.wait_until(
                lambda factor=factor: (boost(jobs) or {}).get("factor") == factor, seconds=30, what="a boost"
            )
            figure(f"boost of {factor} after", lateness(jobs, times))
        assert boost(jobs)["alert"] == CRITICAL
        jobs.wait_until(lambda: desired(jobs) > 1, seconds=20, what="a larger wish than the law's one worker")
        assert desired(jobs) >= before
        starved = time.time()
    all_answered(jobs, ids)
    ours = {"rows"}
    jobs.wait_until(lambda: not {name for _, name in monitored.prometheus.firing()} & ours, what="no alert firing")
    jobs.wait_until(lambda: not boost(jobs), seconds=60, what="the boost to go with its alert")
    assert {WARNING, CRITICAL} <= monitored.prometheus.ever_fired(began)
    dashboards_have_answers(monitored.prometheus, jobs.namespace, starved)


NOTHING_TO_SHOW = {
    "Container restarts of workers",  # none began anew
    "Looks that failed, and notifications",  # no look failed
    "Rows a second for each worker",  # there is no worker
    "Share of batch in ready workers",
}
"""Panels that are rightly empty while a job is starved; `tests/integration/alerts` asks them all."""


def dashboards_have_answers(server, namespace, moment):
    """Each panel about batch or the operator had something to show while the job was starved."""
    boards = [path for path in DASHBOARDS if path.stem != "realtime"]
    asked = [(title, query) for path in boards for title, query in queries(path, namespace)]
    empty = {title for title, query in asked if not server.query(query, at=moment)}
    assert empty <= NOTHING_TO_SHOW


def test_a_source_that_is_silent_for_a_minute_scales_nothing_down_and_fires_its_own_alert_only(
    jobs, faults, monitored, figure
):
    ids = start(jobs, rows=1600, workers=2, seconds=0.8)
    jobs.wait_until(lambda: faults.notes.answered() >= 100, what="answered rows")
    began, before = time.time(), desired(jobs)
    with silent(faults):
        jobs.wait_until(lambda: (MISSING, "rows") in monitored.prometheus.firing(), seconds=60, what=MISSING)
        figure(f"{MISSING} fires after", time.time() - began)
        while time.time() < began + 60:
            assert desired(jobs) >= before
            time.sleep(1)
    assert not boost(jobs)
    all_answered(jobs, ids)
    assert monitored.prometheus.ever_fired(began) == {MISSING}
    wanted = monitored.prometheus.query("min_over_time(tidemill_workers_desired[55s])", at=began + 60)
    assert [float(sample["value"][1]) for sample in wanted] >= [float(before)]


@contextmanager
def silent(faults):
    """The driver's process stands still: its page does not answer, and Ray says that it runs."""
    pids = faults.driver_pids()
    assert pids
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
