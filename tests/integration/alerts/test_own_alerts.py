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
from typing import TYPE_CHECKING, Any

import yaml
from integration.operator.conftest import job
from monitoring import alertmanager, free_port, prometheus, wait_until

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


def test_an_alert_of_a_platform_team_boosts_the_job_that_it_names_until_it_is_resolved(
    cluster: Any, kubectl: Any, namespace: str, tmp_path: Path
) -> None:
    credentials, rules = tmp_path / "credentials", tmp_path / "rules.yaml"
    credentials.write_text(secrets.token_hex(16))
    rules.write_text(yaml.safe_dump({"groups": [{"name": "own", "rules": [OWN_RULE]}]}))
    metrics, alerts = free_port(), free_port()
    settings = {
        "TIDEMILL_METRICS_PORT": str(metrics),
        "TIDEMILL_ALERTS_PORT": str(alerts),
        "TIDEMILL_ALERTS_CREDENTIALS_FILE": str(credentials),
    }

    def boost(name: str) -> dict[str, Any]:
        annotations = kubectl.json("get", "bij", name, "-n", namespace)["metadata"].get("annotations", {})
        found: dict[str, Any] = json.loads(annotations.get(SCALING_BOOST, "{}"))
        return found

    with (
        operator(cluster.kubeconfig, namespace, tmp_path / "operator.log", **settings),
        alertmanager(tmp_path / "alertmanager", f"http://127.0.0.1:{alerts}/alerts", credentials) as manager,
        prometheus(tmp_path / "prometheus", [f"127.0.0.1:{metrics}"], manager, rules) as server,
    ):
        for name in ("nightly", "other"):
            kubectl("apply", "-n", namespace, "-f", "-", given=job(name, workers={"max": 2}))
        wait_until(lambda: boost("nightly"), 60, "a boost")
        assert (boost("nightly")["factor"], boost("nightly")["alert"]) == (1.25, OWN_RULE["alert"])
        assert boost("other") == {}
        factor = f'tidemill_scaling_boost_factor{{namespace="{namespace}", name="nightly"}}'
        wait_until(lambda: server.query(f"{factor} > 1.2"), 30, "the boost among the figures")
        enough = json.dumps({"spec": {"workers": {"max": 4}}})
        kubectl("patch", "bij", "nightly", "-n", namespace, "--type=merge", "-p", enough)
        wait_until(lambda: not boost("nightly"), 60, "the boost to go with its alert")
        wait_until(lambda: not manager.alerts(), 60, "the alert to be resolved at the Alertmanager")
