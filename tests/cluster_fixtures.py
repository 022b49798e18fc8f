"""Clusters for integration and end-to-end tests: a quick API server alone, and the whole dev cluster with real pods.

`api_server` needs nothing. `devcluster` needs root, or `$KUBECONFIG_UNDER_TEST` names any cluster that has
KubeRay and our CRDs, and the tests run unchanged against it. Both live as long as the test session.
"""

import asyncio
import json
import os
import secrets
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from devcluster.client import NAMESPACES, Client, NotFound
from devcluster.supervisor import Settings, Supervisor

CHECKOUT = Path(__file__).parents[1]
KUBECTL = CHECKOUT / ".tidemill" / "bin" / "kubectl"


@dataclass(frozen=True)
class Cluster:
    """A cluster under test. `state` is the dev cluster's folder, None for a cluster that is not ours."""

    kubeconfig: Path
    state: Path | None = None


@dataclass(frozen=True)
class Kubectl:
    """The real kubectl. Calling it returns what it printed; a failure raises with what it complained about."""

    kubeconfig: Path

    def __call__(self, *words, given=None, check=True, timeout=60):
        done = self.run(*words, given=given, timeout=timeout)
        if check and done.returncode:
            raise AssertionError(f"kubectl {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def run(self, *words, given=None, timeout=60):
        """The whole outcome, for tests about failures. `given` goes to its standard input, a dict as JSON."""
        text = json.dumps(given) if isinstance(given, dict | list) else given
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        command = [str(KUBECTL), *words]
        return subprocess.run(
            command, input=text, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    def json(self, *words):
        """The objects that `get` and its like print, decoded."""
        return json.loads(self(*words, "-o", "json"))


@contextmanager
def lone_api_server(state):
    """An API server with our CRDs and RayCluster's in the folder `state`, and nothing that acts on objects."""
    supervisor = Supervisor(Settings(state, state / "kubeconfig"))
    try:
        supervisor.up_api_server()
        yield Cluster(state / "kubeconfig", state)
    finally:
        supervisor.down()


@pytest.fixture(scope="session")
def api_server(tmp_path_factory):
    """The API server that tests share, each in a namespace of its own."""
    with lone_api_server(tmp_path_factory.mktemp("api-server")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def devcluster(tmp_path_factory):
    """The whole dev cluster, or the cluster that `$KUBECONFIG_UNDER_TEST` names."""
    given = os.environ.get("KUBECONFIG_UNDER_TEST")
    if given:
        yield Cluster(Path(given))
        return
    if os.geteuid() != 0:
        pytest.skip("the dev cluster makes network namespaces, which needs root; or set KUBECONFIG_UNDER_TEST")
    state = tmp_path_factory.mktemp("devcluster")
    supervisor = Supervisor(Settings(state, state / "kubeconfig"))
    try:
        supervisor.up()
        yield Cluster(state / "kubeconfig", state)
    finally:
        supervisor.down()


@pytest.fixture
def cluster(request):
    """The cluster this test is about: the dev cluster if it asks for that, else the API server alone."""
    return request.getfixturevalue("devcluster" if "devcluster" in request.fixturenames else "api_server")


@pytest.fixture
def kubectl(cluster):
    """The real kubectl for this test's cluster."""
    if not KUBECTL.exists():
        pytest.fail(f"{KUBECTL} is missing: run ./hack/setup.sh")
    return Kubectl(cluster.kubeconfig)


@pytest_asyncio.fixture
async def client(cluster):
    """An asynchronous client for this test's cluster."""
    async with Client.from_kubeconfig(cluster.kubeconfig) as opened:
        yield opened


@pytest_asyncio.fixture
async def namespace(client):
    """A namespace of this test's own, gone with everything in it before the next test begins."""
    name = f"test-{secrets.token_hex(4)}"
    await client.create(NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await client.delete(NAMESPACES, None, name)
    await gone(client, NAMESPACES, None, name)


async def gone(client, resource, namespace, name, *, seconds=120.0):
    """Wait until an object is no longer there."""
    deadline = asyncio.get_running_loop().time() + seconds
    with suppress(NotFound):
        while await client.get(resource, namespace, name):
            assert asyncio.get_running_loop().time() < deadline, f"{name} is still there after {seconds} s"
            await asyncio.sleep(0.05)
