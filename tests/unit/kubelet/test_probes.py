"""Counting and asking probes."""

import pytest
from aiohttp import web
from pod_builders import container

from devcluster.kubelet.probes import Tally, ask, port_of, unsupported

YES, NO = True, False


@pytest.mark.parametrize(
    ("thresholds", "results", "verdicts"),
    [
        ((1, 3), [NO, NO, NO, YES], [None, None, NO, YES]),
        ((1, 3), [YES, NO, NO, YES, NO, NO, NO], [YES, YES, YES, YES, YES, YES, NO]),
        ((2, 1), [YES, YES, NO, YES, YES], [None, YES, NO, NO, YES]),
    ],
)
def test_verdicts_need_as_many_results_in_a_row_as_the_threshold(thresholds, results, verdicts):
    tally = Tally(*thresholds)
    seen = []
    for result in results:
        tally = tally.observe(success=result)
        seen.append(tally.passing)
    assert seen == verdicts


def test_the_defaults_are_kubernetes_own():
    assert Tally.of({}) == Tally(1, 3)


def test_ports_may_be_named():
    spec = container(ports=[{"name": "web", "containerPort": 8000}])
    assert (port_of("web", spec), port_of(81, spec), port_of("82", spec)) == (8000, 81, 82)
    with pytest.raises(ValueError, match="no port named 'other'"):
        port_of("other", spec)


def test_grpc_probes_are_refused_plainly():
    assert "only httpGet, tcpSocket and exec" in unsupported(container(livenessProbe={"grpc": {"port": 1}}))
    assert unsupported(container(livenessProbe={"tcpSocket": {"port": 1}})) == ""


@pytest.fixture
async def server():
    """A real HTTP server; returns its port."""

    async def answer(request):
        wanted = request.headers.get("X-Probe") == "1"
        return web.Response(status=int(request.match_info["code"]) if wanted else 418, text="told")

    application = web.Application()
    application.router.add_get("/{code}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def never(command, seconds):
    raise AssertionError("nothing is to be executed")


@pytest.mark.parametrize(("code", "success"), [(200, True), (302, True), (399, True), (400, False), (503, False)])
async def test_http_codes_below_400_are_a_success(server, code, success):
    headers = [{"name": "X-Probe", "value": "1"}]
    probe = {"httpGet": {"port": server, "path": f"/{code}", "httpHeaders": headers}}
    result, message = await ask(probe, container(), "127.0.0.1", never)
    assert result is success
    assert message == ("" if success else f"HTTP probe failed with statuscode: {code} told")


async def test_a_listening_port_is_a_success_and_a_closed_one_is_not(server):
    assert await ask({"tcpSocket": {"port": server}}, container(), "127.0.0.1", never) == (True, "")
    success, message = await ask({"tcpSocket": {"port": 1}}, container(), "127.0.0.1", never)
    assert not success
    assert message


async def test_exec_is_asked_in_the_container():
    async def execute(command, seconds):
        return command == ["check", "it"] and seconds == 7, "said"

    probe = {"exec": {"command": ["check", "it"]}, "timeoutSeconds": 7}
    assert await ask(probe, container(), "127.0.0.1", execute) == (True, "said")
