"""hack/kind.sh's demo on the cluster under test: the chart, its test, a job on claims, and all of it gone again."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.all, pytest.mark.cluster, pytest.mark.engine, pytest.mark.timeout(900)]


def test_the_demo_of_the_script_runs_a_job_and_leaves_nothing(devcluster, kubectl, tmp_path):
    shared = Path(os.environ.get("TIDEMILL_E2E_FOLDER", tmp_path))
    done = subprocess.run(
        [str(ROOT / "hack" / "kind.sh"), "demo"],
        env=os.environ | {"KUBECONFIG_UNDER_TEST": str(devcluster.kubeconfig), "TIDEMILL_E2E_FOLDER": str(shared)},
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    assert '"custom_id"' in done.stdout, "answers are shown"
    results = shared / "demo" / "output" / "tickets" / "results.jsonl"
    assert len(results.read_text().splitlines()) == 216
    assert kubectl.run("get", "namespace", "demo").returncode != 0
    assert kubectl("get", "persistentvolumes", "-o", "name") == ""
    assert "tidemill" not in kubectl("get", "deployments,priorityclasses", "-A", "-o", "name")
    assert kubectl("get", "pods", "-n", "tidemill-system", "-o", "name") == ""
