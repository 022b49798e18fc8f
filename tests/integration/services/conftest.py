"""The program that serves the addresses of Services, on a network of its own, without a kubelet."""

import asyncio
import os
import signal

import pytest
import pytest_asyncio
from kubelet_team import ServicesProcess
from web_pods import BareWeb, declare_node

from devcluster.kubelet import network


@pytest.fixture(scope="session")
def services(api_server, tmp_path_factory):
    """The program, running beside an API server."""
    if os.geteuid() != 0:
        pytest.skip("pods need namespaces of their own, which needs root")
    state = tmp_path_factory.mktemp("services") / "state"
    state.mkdir()
    asyncio.run(network.claim_subnet(state))
    process = ServicesProcess(api_server.kubeconfig, state)
    process.start()
    try:
        yield process
        process.kill(signal.SIGTERM)
        assert process.process.returncode == 0
        assert "Traceback" not in process.log.read_text()
    finally:
        asyncio.run(network.remove_subnet(state))


@pytest_asyncio.fixture
async def web(services, client, namespace):
    """Servers and Services of this test's namespace."""
    await declare_node(client)
    bare = BareWeb(client, namespace, network.subnet_of(services.state))
    yield bare
    await bare.clean_up()
