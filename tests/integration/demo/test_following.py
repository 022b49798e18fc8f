"""The demo's view of a job through the real kubectl, with the test in the operator's place."""

import io
import threading
import time

import yaml
from cluster_fixtures import CHECKOUT, KUBECTL
from rich.console import Console

from demo.batch import watching
from demo.kubectl import Kubectl

NAME = "tickets"
CRASH = "The head pod is starting: CrashLoopBackOff: back-off 10s; it ended with exit code 1: no such file"


def status(reason, message, finished="False"):
    """A status as the operator writes it, as far as the demo reads it."""
    conditions = [("Progressing", "True", reason, message), ("Finished", finished, reason, "")]
    return {
        "status": {
            "conditions": [
                {
                    "type": kind,
                    "status": held,
                    "reason": why,
                    "message": text,
                    "observedGeneration": 1,
                    "lastTransitionTime": "2026-01-02T03:04:05Z",
                }
                for kind, held, why, text in conditions
            ]
        }
    }


def test_a_job_is_followed_to_its_end_and_its_trouble_is_shown(kubectl, namespace):
    job = yaml.safe_load((CHECKOUT / "hack" / "examples" / "tickets-job.yaml").read_text())
    kubectl("apply", "-n", namespace, "-f", "-", given=job)
    output, silences, ended = io.StringIO(), [], []
    console = Console(file=output, width=200)
    command = Kubectl((str(KUBECTL), "--kubeconfig", str(kubectl.kubeconfig)))

    def follow():
        ended.append(watching.follow(command, (namespace, NAME), console, lambda: silences.append(1)))

    def tell(reason, message, **fields):
        patch = yaml.safe_dump(status(reason, message, **fields))
        words = ("patch", "bij", NAME, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)
        kubectl(*words)

    def wait_for(text):
        deadline = time.monotonic() + 60
        while text not in output.getvalue():
            assert time.monotonic() < deadline, f"{text!r} was never shown:\n{output.getvalue()}"
            time.sleep(0.1)

    following = threading.Thread(target=follow)
    following.start()
    wait_for("Pending")
    tell("ClusterStarting", "The head pod is starting.")
    wait_for("ClusterStarting")
    tell("ClusterStarting", CRASH)  # at once after the other: shown when nothing more comes
    wait_for(CRASH)
    assert silences
    tell("JobFinished", "Every row is answered.", finished="True")
    following.join(timeout=60)
    assert watching.observe(ended[0]).finished
