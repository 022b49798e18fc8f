"""Pods run images of their users: whatever one answers, the operator neither follows it, nor swells, nor falls over."""

import gzip
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from tidemill_api.endpoint_contract import APPLICATION, ENGINE_DEPLOYMENT
from tidemill_operator.core.snapshot import AttemptState
from tidemill_operator.driver_metrics import read_metrics
from tidemill_operator.endpoint_figures import read_ingress
from tidemill_operator.errors import RayUnavailableError
from tidemill_operator.pod_answers import ANSWER_BYTES, FIGURES_BYTES, REPLICA_BYTES, origin
from tidemill_operator.ray_api import LOG_BYTES, HeadAddress, RayApi, decode_log, log_tail
from tidemill_operator.serve_api import Asked, Figures, ServeApi
from tidemill_operator.serve_reading import MOST_CHARACTERS, arguments_of, read_serve
from tidemill_workloads.serving.desk import Desk
from tidemill_workloads.serving.figures import IngressFigures, Labels

TOKEN = "token-of-the-head"


@asynccontextmanager
async def pod(answer):
    """A head that answers every request alike."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app, host="127.0.0.1") as server:
        yield HeadAddress("127.0.0.1", TOKEN, dashboard_port=server.port, metrics_port=server.port)


def clock():
    return datetime.now(UTC)


async def everything_asked(head):
    """Each thing that the operator asks a pod for, and what came of it, in words."""
    asked = Asked("t/e", "r", (head.ip,), (head.ip,), head.metrics_port, head.metrics_port)
    async with RayApi(5) as ray, ServeApi(5, clock) as serve:
        told = [str(await ray.metrics(head, "t/j", 1)), str(await ray.attempt(head, "t-1"))]
        told.append(str(await serve.figures(asked)))
        for asking in (
            ray.stop(head, "t-1"),
            serve.details(head),
            serve.deploy(head, {}),
            serve.scale(head, "engine", 1),
        ):
            try:
                told.append(str(await asking))
            except RayUnavailableError as error:
                told.append(str(error))
    return told


async def test_a_redirect_is_never_followed():
    asked = []

    async def metadata(request):
        asked.append(request.path)
        return web.json_response({"status": "RUNNING", "logs": "role credentials", "applications": {}})

    async with pod(metadata) as secret_place:

        async def away(request):
            raise web.HTTPTemporaryRedirect(f"http://127.0.0.1:{secret_place.dashboard_port}{request.path}")

        async with pod(away) as head:
            told = await everything_asked(head)
    assert asked == []
    assert not any("role credentials" in words for words in told)
    assert any("HTTP 307" in words for words in told)


@pytest.mark.parametrize("length", [ANSWER_BYTES + 1, 64 * 2**20])
async def test_an_answer_without_end_is_not_read_to_its_end(length):
    sent = 0

    async def endless(request):
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        piece = b"x" * 2**16
        while sent < 8 * length:
            await response.write(piece)
            sent += len(piece)
        return response

    async with pod(endless) as head, RayApi(5) as ray, ServeApi(5, clock) as serve:
        figures, problem = await ray.metrics(head, "t/j", 1)
        assert figures is None
        assert f"longer than {FIGURES_BYTES} bytes" in problem
        attempt = await ray.attempt(head, "t-1")
        assert (attempt.state, f"longer than {ANSWER_BYTES} bytes" in attempt.problem) == (AttemptState.UNKNOWN, True)
        with pytest.raises(RayUnavailableError, match="longer than"):
            await serve.details(head)
    assert sent < 8 * length


async def test_a_small_packed_answer_is_not_unpacked_to_a_huge_one():
    packed = gzip.compress(b'{"logs": "' + b"x" * 2**26 + b'"}')

    async def bomb(_):
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    async with pod(bomb) as head:
        told = await everything_asked(head)
    assert all(len(words) < 2000 for words in told)


@pytest.mark.parametrize("body", ["[" * 200_000, "[]", "7", '"logs"', "null", '{"status": []}', "1" * 5000, "\\ud800"])
async def test_an_answer_that_is_not_rays_is_said_and_no_bug(body):
    async def odd(_):
        return web.Response(text=body, content_type="application/json")

    async with pod(odd) as head:
        told = await everything_asked(head)
    assert all(TOKEN not in words for words in told)


@pytest.mark.parametrize("body", [b"[]", b"7", b"null", b"[" * 100_000])
def test_a_log_that_is_not_rays_is_a_passing_fault(body):
    with pytest.raises(RayUnavailableError, match="not the JSON"):
        decode_log(body, whole=True)


@pytest.mark.parametrize(
    "ip",
    [
        "169.254.169.254",
        "168.63.129.16",
        "100.100.100.200",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd20:ce::254",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "fe80::1",
        "fd12::1%1",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "2130706433",
        "metadata.google.internal",
        "10.0.0.1:80/latest/meta-data?",
        "10.0.0.1@evil",
        "10.0.0.1\r\nX: y",
        "",
        "x" * 5000,
    ],
)
async def test_what_is_no_address_of_a_pod_is_asked_for_nothing(ip):
    with pytest.raises(RayUnavailableError, match="not the address of a pod") as said:
        origin(ip, 8265)
    assert len(str(said.value)) < 200
    told = await everything_asked(HeadAddress(ip, TOKEN))
    assert all("not the address of a pod" in words for words in told if not words.startswith("Figures"))


def test_an_address_of_version_six_is_written_as_a_url_has_it():
    assert origin("fd12::1", 8265) == "http://[fd12::1]:8265"
    assert HeadAddress("fd12::1", "t").jobs == "http://[fd12::1]:8265/api/jobs/"


SERVE_WORDS = st.sampled_from(
    [
        "applications",
        APPLICATION,
        "deployments",
        "replicas",
        "status",
        "message",
        "deployed_app_config",
        "args",
        "target_num_replicas",
        "last_deployed_time_s",
        "ingress",
        "engine",
        "user_config",
        "name",
        "node_ip",
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SERVE_WORDS | st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(SERVE_WORDS, JSON, max_size=4), st.dictionaries(SERVE_WORDS, JSON, max_size=6))
def test_whatever_serve_answers_is_read_or_left_out(outside, inside):
    for details in (outside, {"applications": {APPLICATION: inside}}, {"applications": {APPLICATION: outside}}):
        view = read_serve(details)
        assert view.engine.target >= 0
        assert arguments_of(details) is None or isinstance(arguments_of(details), dict)


@pytest.mark.parametrize("line", ["a 1\n", 'tidemill_batch_rows_in_flight{job="t/j",attempt="1",node="10.0.0.1"} 1\n'])
def test_reading_a_page_of_figures_at_its_bound_does_not_hold_the_others_up_for_long(line):
    """It is the operator's own time, in which nobody else is reconciled and no lease is renewed."""
    page = line * (FIGURES_BYTES // len(line))
    began = time.perf_counter()
    read_metrics(page, "t/j", 1)
    seconds = time.perf_counter() - began
    assert seconds < 5, "half of the time after which an operator that is not heard of loses its lease"


@pytest.mark.parametrize("line", ["a\n", "tidemill_engine_ready 1\n", "tidemill_engine_ready{a='' 1\n"])
def test_the_pages_of_a_dozen_hostile_replicas_do_not_hold_the_others_up_for_long(line):
    page = line * (REPLICA_BYTES // len(line))
    began = time.perf_counter()
    assert [read_ingress(page, "t/e", "r", clock()) for _ in range(12)] == [None] * 12
    assert time.perf_counter() - began < 5


async def test_a_replicas_page_beyond_its_bound_counts_as_silent():
    async def figures(_):
        return web.Response(text="x" * (REPLICA_BYTES + 1))

    async with pod(figures) as head, ServeApi(5, clock) as serve:
        asked = Asked("t/e", "r", (head.ip,), (head.ip,), head.metrics_port, head.metrics_port)
        assert await serve.figures(asked) == Figures()


def test_the_longest_page_of_a_real_replica_is_read():
    labels = Labels("n" * 63 + "/" + "e" * 63, "r" * 63, "a" * 36)
    figures = IngressFigures(labels, Desk(), lambda: 1000)
    for code in (200, *range(400, 430), *range(500, 512)):
        figures.ended(code, 1.5)
    figures.refused(429)
    figures.first_token(0.3)
    page = generate_latest(figures.registry).decode()
    assert len(page) < REPLICA_BYTES
    assert read_ingress(page, labels.endpoint, labels.revision, clock()) is not None


@pytest.mark.parametrize(
    "unit", ["http://", "http://a", "://", "?a", "&token", "http://a?...", "&X-Amz-", "http://u:p@"]
)
def test_the_end_of_a_log_that_looks_like_nothing_but_urls_holds_nobody_up(unit):
    """40 s, before this was measured: the lease is lost after ten, and the next leader reads the same log."""
    began = time.perf_counter()
    log_tail(unit * (LOG_BYTES // len(unit)))
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("line", ["http://" * 600_000, "http://a\n" * 500_000, "?a" * 2_000_000])
def test_a_message_of_serves_without_end_is_cut_and_its_last_line_kept(line):
    message = f"A replica failed to start with exception. Retrying.\n{line}\nlast https://h/x?sig=canary"
    began = time.perf_counter()
    view = read_serve(serving(message))
    assert time.perf_counter() - began < 5
    assert view.engine.message.startswith("A replica failed to start")
    assert view.engine.message.endswith("\nlast https://h/x?***")
    assert len(view.engine.message) <= MOST_CHARACTERS + 100


def serving(message):
    """What Serve says where the engine has this message."""
    engine = {"status": "UPDATING", "message": message}
    return {"applications": {APPLICATION: {"status": "RUNNING", "deployments": {ENGINE_DEPLOYMENT: engine}}}}
