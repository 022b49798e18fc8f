"""The operator as a platform team runs it: the chart of this checkout, installed by helm into a cluster under test.

It runs with exactly the chart's rights, as two pods behind one Lease. Knows nothing of the cluster but its kubeconfig
and the images' names: `$TIDEMILL_OPERATOR_IMAGE` and `$TIDEMILL_WORKLOADS_IMAGE`, or the chart's own.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from helm_releases import Helm
from rendered_chart import CHART

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cluster_fixtures import Kubectl

RELEASE = "tidemill"
PODS = "app.kubernetes.io/component=operator"

UNDER_TEST: dict[str, Any] = {
    "crds": {"install": False},  # the cluster under test has them, and other tests need them after this release
    "settings": {"allowHostPath": True, "backoffMinSeconds": 2, "backoffMaxSeconds": 4},
    "extraEnv": [{"name": "TIDEMILL_ALLOW_TEST_ENGINE", "value": "true"}],
}
"""Values of the tests: folders of this machine, test engines, and quick looks at what was mended."""


@dataclass
class InstalledOperator:
    """One release of the chart in a namespace of its own. `log` gathers what its pods said, those that are gone too."""

    kubectl: Kubectl
    namespace: str
    home: Path
    given: dict[str, Any] | None = field(default=None, init=False)
    heard: dict[str, int] = field(default_factory=dict, init=False)  # characters of each pod's log in `log`

    @property
    def log(self) -> Path:
        """The file that `collect` adds to."""
        return self.home / "operator.log"

    def ensure(self, **values: Any) -> None:
        """The release stands with these values beside `UNDER_TEST`, and its pods are ready."""
        if self.given != values:
            words = ("upgrade", RELEASE, str(CHART), "--install", "--create-namespace", "--wait", "--force-conflicts")
            self.helm(*words, values=merged(merged(UNDER_TEST, images()), values))
            self.given = values
        self.start()

    def helm(self, *words: str, values: dict[str, Any] | None = None) -> str:
        """Runs helm in the release's namespace, with the cluster's story where it fails."""
        done = Helm(self.kubectl.kubeconfig, self.home, self.namespace).run(*words, values=values)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.describe()}"
        return done.stdout

    def start(self) -> None:
        """Both pods run again, after `kill` or `stop`. A held Lease of who was killed ends in ten seconds."""
        self._scale(2)
        waited = self.kubectl.run(
            "rollout", "status", f"deployment/{RELEASE}", "-n", self.namespace, "--timeout=120s", timeout=130
        )
        assert waited.returncode == 0, f"{waited.stdout}{waited.stderr}\n{self.describe()}"

    def kill(self) -> None:
        """Every pod at once, without a word to it, and none in its place: as when its nodes lose power."""
        self.collect()
        self._scale(0)
        words = ("delete", "pods", "-l", PODS, "-n", self.namespace, "--grace-period=0", "--force")
        self.kubectl(*words)

    def stop(self) -> None:
        """Every pod in order, by SIGTERM, and none in its place."""
        self.collect()
        self._scale(0)
        self.kubectl("wait", "--for=delete", "pod", "-l", PODS, "-n", self.namespace, "--timeout=60s", timeout=70)

    def pods(self) -> list[str]:
        """Names of the operator's pods."""
        found = self.kubectl.json("get", "pods", "-l", PODS, "-n", self.namespace)["items"]
        return [pod["metadata"]["name"] for pod in found]

    def addresses(self) -> list[str]:
        """Addresses of the operator's pods."""
        found = self.kubectl.json("get", "pods", "-l", PODS, "-n", self.namespace)["items"]
        return [pod["status"]["podIP"] for pod in found]

    def service_address(self) -> str:
        """The address of the release's Service; it has one where metrics or alerts are on."""
        service = self.kubectl.json("get", "service", RELEASE, "-n", self.namespace)
        return str(service["spec"]["clusterIP"])

    def leader(self) -> str:
        """Who holds the Lease, as the Lease says it; empty where nobody does."""
        lease = self.kubectl.json("get", "lease", RELEASE, "-n", self.namespace)
        return lease.get("spec", {}).get("holderIdentity", "")

    def collect(self) -> str:
        """Adds what the pods said since the last time to the log; returns that."""
        said = ""
        for pod in self.pods():
            words = self.kubectl("logs", pod, "-n", self.namespace, check=False)
            said += words[self.heard.get(pod, 0) :]
            self.heard[pod] = len(words)
        with self.log.open("a") as log:
            log.write(said)
        return said

    def describe(self) -> str:
        """What a person would look at where it does not come up."""
        told = self.kubectl("describe", "deployment,pods", "-n", self.namespace, check=False)
        return told + self.kubectl("logs", "-l", PODS, "-n", self.namespace, "--tail=30", check=False)

    @contextmanager
    def with_values(self, **values: Any) -> Iterator[None]:
        """The operator with these values of the chart for a while."""
        self.collect()
        self.ensure(**values)
        yield
        self.collect()
        self.ensure()

    def remove(self) -> None:
        """The release and its namespace go."""
        self.helm("uninstall", RELEASE, "--wait")
        self.kubectl("delete", "priorityclass", f"{RELEASE}-realtime", f"{RELEASE}-batch", check=False)
        self.kubectl("delete", "namespace", self.namespace, "--timeout=60s", check=False, timeout=70)

    def _scale(self, replicas: int) -> None:
        patch = json.dumps({"spec": {"replicas": replicas}})
        self.kubectl("patch", "deployment", RELEASE, "-n", self.namespace, "--type=merge", "-p", patch)


def images() -> dict[str, Any]:
    """The images under test as values of the chart; none where the environment names none."""
    values: dict[str, Any] = {}
    if operator := os.environ.get("TIDEMILL_OPERATOR_IMAGE"):
        repository, _, tag = operator.rpartition(":")
        values["image"] = {"repository": repository, "tag": tag}
    if workloads := os.environ.get("TIDEMILL_WORKLOADS_IMAGE"):
        values["settings"] = {"imageCpu": workloads}
    return values


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Two trees of values, where the second one wins; lists of the same name are put together."""
    result = dict(first)
    for name, value in second.items():
        before = result.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            result[name] = merged(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            result[name] = [*before, *value]
        else:
            result[name] = value
    return result
