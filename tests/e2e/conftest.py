"""Whole jobs on a cluster, as a user meets them: kubectl, files, and the operator that helm installed.

They run on the dev cluster, or on any that `$KUBECONFIG_UNDER_TEST` leads to (`$KUBECONFIG` may lead to one that is in
use). It needs KubeRay and our CRDs, addresses of pods and Services that are reachable from here, and a folder
`$TIDEMILL_E2E_FOLDER` that its nodes see at the same path, since the tests' jobs read and write files there. The images
are those of the chart, or `$TIDEMILL_OPERATOR_IMAGE` and `$TIDEMILL_WORKLOADS_IMAGE`. hack/kind.sh makes all of it.

Everything is real but the engine, where a test is not about answers: `engines.py` and `chaos_engines.py` stand for
vLLM then, mounted into the pods from a ConfigMap, so that the images need not know them.
"""

import json
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from chaos_faults import Faults
from cluster_fixtures import Kubectl
from endpoint_faults import EndpointFaults
from endpoint_world import Endpoints
from installed_operator import InstalledOperator

TESTS = Path(__file__).parents[1]
MODELS = TESTS.parent / ".tidemill" / "models"

MODEL = {
    "name": "smollm2",
    "source": "/models/smollm2",
    "engineArgs": {"dtype": "float32", "maxModelLen": 2048},
}


@pytest.fixture(scope="session")
def operator_session(devcluster, tmp_path_factory):
    """The session's operator: the chart, installed by helm, with its own rights and no others."""
    kubectl = Kubectl(devcluster.kubeconfig)
    operator = InstalledOperator(kubectl, f"tidemill-{secrets.token_hex(3)}", tmp_path_factory.mktemp("operator"))
    yield operator
    operator.remove()


@pytest.fixture
def operator(operator_session):
    """The operator, running; its log must hold no traceback when the test is over."""
    operator_session.ensure()
    operator_session.collect()
    yield operator_session
    assert "Traceback" not in operator_session.collect(), f"the operator stumbled: {operator_session.log}"


@dataclass
class Jobs:
    """Jobs of one test in a namespace of its own, with files under `folder`."""

    kubectl: object
    namespace: str
    folder: Path

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def notes(self) -> Path:
        """Where the tests' engines write down what they do."""
        return self.folder / "notes"

    def make_folder(self, name):
        """A folder of the job's that pods may write to, whoever they run as."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
        return folder

    def write_rows(self, count, *, prefix="row-", name="rows.jsonl"):
        """An input file of `count` chat requests; returns their custom_ids."""
        return self.write_ids([f"{prefix}{number}" for number in range(1, count + 1)], name)

    def write_ids(self, ids, name="rows.jsonl"):
        """An input file of chat requests with these custom_ids, in this order; returns them."""
        lines = (json.dumps(chat_row(custom_id)) for custom_id in ids)
        (self.make_folder("input") / name).write_text("".join(line + "\n" for line in lines))
        return ids

    def manifest(self, name="rows", *, engine="engines:no_op", environment=None, **spec):
        """A job on this test's folders; `engine` None is the real one."""
        folders = ("input", "output", "notes")
        for folder in folders:
            self.make_folder(folder)
        volumes = {folder: self.folder / folder for folder in folders} | {"models": MODELS}
        mounts = {folder: f"/data/{folder}" for folder in folders} | {"models": "/models"}
        env = {"TIDEMILL_TEST_FOLDER": "/data/notes", **(environment or {})}
        template = {
            "volumes": [{"name": volume, "hostPath": {"path": str(path)}} for volume, path in volumes.items()],
            "volumeMounts": [{"name": volume, "mountPath": path} for volume, path in mounts.items()],
        }
        if engine is not None:
            env |= {"TIDEMILL_ENGINE": engine, "PYTHONPATH": "/engines"}
            template["volumes"].append({"name": "engines", "configMap": {"name": "engines"}})
            template["volumeMounts"].append({"name": "engines", "mountPath": "/engines"})
        template["env"] = [{"name": variable, "value": value} for variable, value in env.items()]
        return {
            "apiVersion": "tidemill.dev/v1alpha1",
            "kind": "BatchInferenceJob",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "model": MODEL,
                "input": {"uri": "/data/input/rows.jsonl"},
                "output": {"uri": "/data/output/"},
                "completionWindow": "1h",
                "resources": {"cpu": "1", "memory": "2Gi"},
                "head": {"cpu": "1", "memory": "2Gi"},
                "template": template,
            }
            | spec,
        }

    def apply(self, manifest):
        self.kubectl("apply", "-f", "-", given=manifest)
        return manifest["metadata"]["name"]

    def patch(self, name="rows", **spec):
        """As a user edits a job."""
        change = json.dumps({"spec": spec})
        self.kubectl("patch", "bij", name, "-n", self.namespace, "--type=merge", "-p", change)

    def get(self, name="rows"):
        return self.kubectl.json("get", "bij", name, "-n", self.namespace)

    def condition(self, kind, name="rows"):
        conditions = self.get(name).get("status", {}).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def wait_finished(self, name="rows", seconds=120):
        """As a script would wait: kubectl wait returns in every case."""
        limit = f"--timeout={seconds}s"
        words = ("wait", "--for=condition=Finished", f"bij/{name}", "-n", self.namespace, limit)
        waited = self.kubectl.run(*words, timeout=seconds + 10)
        assert waited.returncode == 0, f"{waited.stderr}\n{self.describe()}"
        return self.condition("Succeeded", name)

    def wait_until(self, check, seconds=150, what="the condition"):
        deadline = time.monotonic() + seconds
        while not (found := check()):
            assert time.monotonic() < deadline, f"{what} did not come about in {seconds} s\n{self.describe()}"
            time.sleep(0.3)
        return found

    def wait_rows(self, count, name="rows"):
        """Until so many rows have a line, as the status tells."""
        self.wait_until(lambda: self.completed(name) >= count, what=f"{count} rows")

    def completed(self, name="rows"):
        return self.get(name).get("status", {}).get("rows", {}).get("completed", 0)

    def exists(self, name):
        return self.kubectl.run("get", "bij", name, "-n", self.namespace).returncode == 0

    def describe(self):
        """What a person would look at when a test goes wrong."""
        return self.kubectl("describe", "bij,raycluster,pods", "-n", self.namespace, check=False)

    def children(self):
        """Names of everything that Tidemill and KubeRay made here."""
        found = self.kubectl("get", "raycluster,pods,services,secrets", "-n", self.namespace, "-o", "name")
        return found.split()

    def lines(self, name, output=None):
        """The lines of one file of the output, decoded; none where the file is not there."""
        path = (output or self.output) / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def answered_ids(self, output=None):
        """custom_ids of result and error lines, in the order of the files."""
        return [line["custom_id"] for name in ("results.jsonl", "errors.jsonl") for line in self.lines(name, output)]

    def events(self):
        found = self.kubectl.json("get", "events", "-n", self.namespace)["items"]
        return [event for event in found if event["involvedObject"]["kind"] == "BatchInferenceJob"]


def chat_row(custom_id, content="hello", **body):
    """One line of a batch."""
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "smollm2", "messages": [{"role": "user", "content": content}], "max_tokens": 16, **body},
    }


@pytest.fixture
def shared_folder(tmp_path):
    """A folder that the cluster's nodes see at the same path."""
    given = os.environ.get("TIDEMILL_E2E_FOLDER")
    return Path(tempfile.mkdtemp(dir=given)) if given else tmp_path


@pytest.fixture
def jobs(operator, kubectl, devcluster, shared_folder):
    """A namespace with the tests' engines in it, emptied when the test is over."""
    name = f"e2e-{secrets.token_hex(3)}"
    kubectl("create", "namespace", name)
    files = [f"--from-file={TESTS / module}" for module in ("engines.py", "chaos_engines.py")]
    kubectl("create", "configmap", "engines", "-n", name, *files)
    yield Jobs(kubectl, name, shared_folder)
    kubectl("delete", "namespace", name, "--timeout=120s", timeout=130)


@pytest.fixture
def faults(jobs, devcluster, operator):
    """Ways to lose parts of this test's job; they need the dev cluster."""
    if devcluster.state is None:
        pytest.skip("kills processes and cuts cables of this machine, so it needs the dev cluster")
    return Faults(jobs, devcluster.state, operator)


@pytest.fixture
def endpoints(operator, kubectl):
    """A namespace for endpoints, emptied when the test is over."""
    made = Endpoints(kubectl, f"e2e-{secrets.token_hex(3)}")
    made.prepare()
    yield made
    kubectl("delete", "namespace", made.namespace, "--timeout=240s", timeout=250)


@pytest.fixture
def endpoint_faults(endpoints, devcluster):
    """Ways to lose parts of this test's endpoints; they need the dev cluster."""
    if devcluster.state is None:
        pytest.skip("kills processes of this machine, so it needs the dev cluster")
    return EndpointFaults(endpoints, devcluster.state)


@pytest.fixture
def figure(record_property):
    """Tells a measured figure, `figure("two replicas answer after", 34.0, "s")`: all are printed at the run's end."""

    def tell(what, value, unit="s"):
        record_property("figure", f"{what} {value:.2f} {unit}")

    return tell


def pytest_terminal_summary(terminalreporter):
    """What the tests measured, for a person to read."""
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    told = [
        (report.head_line, value) for report in reports for name, value in report.user_properties if name == "figure"
    ]
    if told:
        terminalreporter.section("figures")
        for test, value in dict.fromkeys(told):
            terminalreporter.line(f"{test}: {value}")
