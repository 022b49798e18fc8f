"""API servers of these tests' own: one for the session, and one to kill for whoever asks."""

import aiohttp
import pytest
import pytest_asyncio
from api_server_process import Http, ServerProcess, thing_definition, until


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """One server for all tests here that leave it running; its log must not show an internal error."""
    started = ServerProcess(tmp_path_factory.mktemp("apiserver")).start()
    yield started
    started.stop()
    assert "Traceback" not in (started.folder / "log").read_text()


@pytest.fixture
def own_server(tmp_path):
    """A server that a test may kill."""
    started = ServerProcess(tmp_path).start()
    yield started
    started.stop()


@pytest.fixture
def cluster(server):
    """What the shared fixtures `kubectl`, `client` and `namespace` talk to in these tests."""
    return server


@pytest_asyncio.fixture
async def http(server):
    """HTTP to the session's server."""
    async with aiohttp.ClientSession() as session:
        yield Http(session, server.url)


@pytest_asyncio.fixture
async def things(http):
    """The definition of `things.example.com`, made once for the session."""
    await http("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", thing_definition())
    return "/apis/example.com/v1"


@pytest_asyncio.fixture
async def maps(http, namespace):
    """The ConfigMaps of this test's namespace, where the server's own one stands already."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"

    async def holds_the_authority():
        return (await http("GET", f"{path}/kube-root-ca.crt"))[0] == 200

    await until(holds_the_authority)
    return path


@pytest.fixture
def pods(namespace):
    return f"/api/v1/namespaces/{namespace}/pods"


@pytest.fixture
def mine(things, namespace):
    """The things of this test's namespace."""
    return f"{things}/namespaces/{namespace}/things"
