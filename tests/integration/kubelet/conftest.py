"""A kubelet of these tests' own, with an API server that nothing else uses: it would take other tests' pods."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from cluster_fixtures import CHECKOUT, lone_api_server
from kubelet_team import KubeletProcess, ServicesProcess, Team, traces
from web_pods import Web


@pytest.fixture(scope="session")
def api_server(tmp_path_factory):
    """An API server for this folder alone."""
    with lone_api_server(tmp_path_factory.mktemp("kubelet-api-server")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kubelet(api_server):
    """A running kubelet; when the tests are over nothing may be left of it.

    Its state lies in the checkout, as the dev cluster's does, so that a container's view of the host holds it.
    """
    if os.geteuid() != 0:
        pytest.skip("pods need namespaces of their own, which needs root")
    with tempfile.TemporaryDirectory(prefix="kubelet-", dir=CHECKOUT / ".tidemill") as folder:
        process = KubeletProcess(api_server.kubeconfig, Path(folder, "state"))
        process.start()
        yield process
        process.kill(signal.SIGTERM)
        process.clean_up()
        assert traces(process.state) == {"mounts": [], "launchers": [], "links": []}


@pytest.fixture(scope="session")
def services(api_server, kubelet):
    """The program that serves the addresses of Services, beside the kubelet."""
    process = ServicesProcess(api_server.kubeconfig, kubelet.state)
    process.start()
    yield process
    process.kill(signal.SIGTERM)
    assert process.process.returncode == 0


@pytest.fixture
def team(kubelet, client, namespace):
    return Team(client, namespace, kubelet)


@pytest.fixture
def web(team, services):
    """Pods and Services of this test's namespace, with addresses that work."""
    return Web(team)
