"""A platform team's own alert drives scaling: real Prometheus, Alertmanager and operator on a real API server.

No pod runs, so it is about the way of an alert, not about what a boost does; `tests/e2e/test_alerts.py` shows that.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from integration.operator.conftest import job
from monitoring import Alertmanager, Prometheus, alertmanager, free_port, prometheus, wait_until

from tidemill_api.labels import SCALING_BOOST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWN_RULE = {
    "alert": "NightlyBatchHasTooFewWorkers",
    "expr": 'tidemill_workers_max{name="nightly"} < 3',
    "labels": {"tidemill_kind": "{{ $labels.kind }}", "tidemill_boost": "1.25"},
}


@contextmanager
def operator(kubeconfig: Path, namespace: str, log: Path, **settings: str) -> Iterator[None]:
    """The operator as a process of its own; it must not stumble."""
    command = [sys.executable, "-m", "tidemill_operator", "--kubeconfig", str(kubeconfig), "--namespace", namespace]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--health-port", "0"], stdout=file, stderr=file, env={**os.environ, **settings}
        )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(timeout=30) == 0
    assert "Traceback" not in log.read_text()


@dataclass(frozen=True)
class World:
    """Operator, Prometheus and Alertmanager, and the jobs of a namespace."""

    kubectl: Any
    namespace: str
    prometheus: Prometheus
    alertmanager: Alertmanager

    def apply(self, name: str, most: int) -> None:
        """A job that may have so many workers."""
        self.kubectl("apply", "-n", self.namespace, "-f", "-", given=job(name, workers={"max": most}))

    def allow(self, name: str, most: int) -> None:
        """The job may have so many workers from now on."""
        change = json.dumps({"spec": {"workers": {"max": most}}})
        self.kubectl("patch", "bij", name, "-n", self.namespace, "--type=merge", "-p", change)

    def boost(self, name: str) -> dict[str, Any]:
        """The job's boost, empty where it has none."""
        annotations = self.kubectl.json("get", "bij", name, "-n", self.namespace)["metadata"].get("annotations", {})
        found: dict[str, Any] = json.loads(annotations.get(SCALING_BOOST, "{}"))
        return found


@contextmanager
def monitored(cluster: Any, kubectl: Any, namespace: str, folder: Path, *rules: dict[str, Any]) -> Iterator[World]:
    """The operator with these alerts over its figures."""
    credentials, file = folder / "credentials", folder / "rules.yaml"
    credentials.write_text(secrets.token_hex(16))
    file.write_text(yaml.safe_dump({"groups": [{"name": "own", "rules": list(rules)}]}))
    metrics, alerts = free_port(), free_port()
    settings = {
        "TIDEMILL_METRICS_PORT": str(metrics),
        "TIDEMILL_ALERTS_PORT": str(alerts),
        "TIDEMILL_ALERTS_CREDENTIALS_FILE": str(credentials),
    }
    with (
        operator(cluster.kubeconfig, namespace, folder / "operator.log", **settings),
        alertmanager(folder / "alertmanager", f"http://127.0.0.1:{alerts}/alerts", credentials) as manager,
        prometheus(folder / "prometheus", [f"127.0.0.1:{metrics}"], manager, file) as server,
    ):
        yield World(kubectl, namespace, server, manager)


def test_an_alert_of_a_platform_team_boosts_the_job_that_it_names_until_it_is_resolved(
    cluster: Any, kubectl: Any, namespace: str, tmp_path: Path
) -> None:
    with monitored(cluster, kubectl, namespace, tmp_path, OWN_RULE) as world:
        for name in ("nightly", "other"):
            world.apply(name, most=2)
        wait_until(lambda: world.boost("nightly"), 60, "a boost")
        assert (world.boost("nightly")["factor"], world.boost("nightly")["alert"]) == (1.25, OWN_RULE["alert"])
        assert world.boost("other") == {}
        factor = f'tidemill_scaling_boost_factor{{namespace="{namespace}", name="nightly"}}'
        wait_until(lambda: world.prometheus.query(f"{factor} > 1.2"), 30, "the boost among the figures")
        world.allow("nightly", most=4)
        wait_until(lambda: not world.boost("nightly"), 60, "the boost to go with its alert")
        wait_until(lambda: not world.alertmanager.alerts(), 60, "the alert to be resolved at the Alertmanager")


def stage(alert: str, severity: str, below: int) -> dict[str, Any]:
    """An alert with the name and labels of ours; about a figure that a test can change, and not about an age."""
    labels = {"tidemill_kind": "{{ $labels.kind }}", "severity": severity}
    return {"alert": alert, "expr": f'tidemill_workers_max{{name="nightly"}} < {below}', "labels": labels}


def test_by_the_readmes_inhibition_the_critical_alert_silences_the_warning_and_no_boost_is_left_of_either(
    cluster: Any, kubectl: Any, namespace: str, tmp_path: Path
) -> None:
    warning, critical = stage("TidemillJobQueueWarning", "warning", 4), stage("TidemillJobQueueCritical", "critical", 2)
    with monitored(cluster, kubectl, namespace, tmp_path, warning, critical) as world:

        def silenced() -> list[str]:
            alerts = world.alertmanager.alerts()
            return [alert["labels"]["alertname"] for alert in alerts if alert["status"]["inhibitedBy"]]

        world.apply("nightly", most=3)
        wait_until(lambda: world.boost("nightly").get("factor") == 1.5, 60, "the boost of the warning")
        assert silenced() == []
        world.allow("nightly", most=1)
        wait_until(lambda: world.boost("nightly").get("factor") == 2, 60, "the boost of the critical alert")
        wait_until(lambda: silenced() == [warning["alert"]], 30, "the warning to be silenced")
        world.allow("nightly", most=4)
        wait_until(lambda: not world.alertmanager.alerts(), 60, "both alerts to be resolved")
        wait_until(lambda: not world.boost("nightly"), 60, "the boost to go with them")
