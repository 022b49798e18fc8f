"""Where the operator's client goes and with which credentials: by the kubeconfig, not by what surrounds it."""

import json

import pytest
from aiohttp import web

from tidemill_operator.cluster import JOBS, Cluster
from tidemill_operator.credentials import load_configuration
from tidemill_operator.errors import ConfigError


@pytest.fixture
async def api_server(tmp_path):
    """A server that notes the Authorization header of each request, and the kubeconfig that leads to it."""
    seen = []

    async def answer(request):
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"metadata": {"name": "tickets"}})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    path = tmp_path / "kubeconfig"
    context = {"cluster": "c", "user": "u"}
    config = {"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "c", "cluster": {"server": url}}]}
    config |= {"users": [{"name": "u", "user": {"token": "from-the-kubeconfig"}}]}
    config |= {"contexts": [{"name": "x", "context": context}], "current-context": "x"}
    path.write_text(json.dumps(config))
    yield path, seen
    await runner.cleanup()


async def test_neither_a_proxy_nor_a_password_of_the_environment_changes_where_requests_go(
    api_server, tmp_path, monkeypatch
):
    kubeconfig, seen = api_server
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password else\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    cluster = Cluster(await load_configuration(kubeconfig))
    try:
        assert await cluster.get(JOBS, "shop", "tickets") == {"metadata": {"name": "tickets"}}
    finally:
        await cluster.close()
    assert seen == ["Bearer from-the-kubeconfig"]


async def test_a_kubeconfig_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"kubeconfig .*nothing-here"):
        await load_configuration(tmp_path / "nothing-here")
