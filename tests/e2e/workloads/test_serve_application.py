"""The application on a real Ray Serve with a paced engine: held at zero, drained, lost, bounded, counted."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from serve_cluster import ServeCluster
from serving_world import config

from tidemill_api import endpoint_contract as contract
from tidemill_workloads.serving.slow_clients import MOST_OF_A_HEAD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.all, pytest.mark.engine, pytest.mark.timeout(300)]

STALL_SECONDS = 6
"""After which an engine that makes no step is taken for hung here; ten minutes else."""

SETTINGS = contract.IngressSettings(queue_bound=40, request_timeout_seconds=60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeCluster]:
    folder: Path = tmp_path_factory.mktemp("serve")
    keys = folder / "keys"
    keys.mkdir()
    (keys / "alice").write_text("key-of-alice")
    variables = {"TIDEMILL_TEST_TOKEN_SECONDS": "0.05", "TIDEMILL_TEST_STALL_SECONDS": str(STALL_SECONDS)}
    with ServeCluster(folder, variables=variables) as running:
        running.deploy(config(api_keys_folder=str(keys), drain_seconds=20), SETTINGS, ingress=2, engines=0)
        running.wait_running(1, 0)  # the head's
        running.add_worker()
        running.wait_running(2, 0)
        running.add_worker()
        yield running


def client(cluster: ServeCluster, key: str = "key-of-alice", ingress: int = 0) -> openai.AsyncOpenAI:
    """Of the head's ingress, or of that of the first worker: on one machine it has the next port."""
    http = httpx.AsyncClient(verify=False, limits=httpx.Limits(max_connections=None))
    url = f"http://127.0.0.1:{cluster.ingress_port + ingress}/v1"
    return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=60, http_client=http)


async def ask(caller: openai.AsyncOpenAI, tokens: int = 4, **more: Any) -> Any:
    messages: Any = [{"role": "user", "content": "hello"}]
    return await caller.chat.completions.create(model="m", messages=messages, max_tokens=tokens, **more)


async def figure(cluster: ServeCluster, name: str, wanted: float, seconds: float = 10, kind: str = "ingress") -> None:
    """Until the sum of a figure is what it should be."""
    deadline = time.monotonic() + seconds
    while (found := (await asyncio.to_thread(cluster.figures, kind)).get(name)) != wanted:
        assert time.monotonic() < deadline, f"{name} is {found}, not {wanted}"
        await asyncio.sleep(0.05)


async def test_at_zero_requests_are_held_counted_bounded_by_all_together_and_then_answered(
    cluster: ServeCluster,
) -> None:
    cluster.scale(0)
    cluster.wait_running(2, 0)
    async with client(cluster) as one, client(cluster, ingress=1) as two, client(cluster, "wrong") as stranger:
        assert [model.id async for model in two.models.list()] == ["m"]
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()
        asking = [asyncio.create_task(ask(caller)) for caller in (one, two) * 30]
        await figure(cluster, contract.METRIC_REJECTED, 20)
        assert cluster.figures("ingress")[contract.METRIC_HELD] == 40
        started = time.monotonic()
        with pytest.raises(openai.RateLimitError):
            await ask(two)
        assert time.monotonic() - started < 1
        cluster.scale(1)
        results = await asyncio.gather(*asking, return_exceptions=True)
    answers = [result for result in results if not isinstance(result, openai.RateLimitError)]
    assert [answer.choices[0].message.content for answer in answers] == ["0 1 2 3"] * 40
    await figure(cluster, contract.METRIC_WAITING, 0)
    await figure(cluster, contract.METRIC_RUNNING, 0)


async def test_no_request_fails_while_replicas_come_and_go(cluster: ServeCluster) -> None:
    cluster.scale(2)
    cluster.wait_running(2, 2)
    async with client(cluster) as caller:
        asking = [asyncio.create_task(ask(caller, 40, stream=True)) for _ in range(12)]
        streams = [asyncio.create_task(read(await one)) for one in asking]
        await asyncio.sleep(0.3)
        cluster.scale(1)
        later = [asyncio.create_task(ask(caller, 10)) for _ in range(12)]
        assert [len(chunks) for chunks in await asyncio.gather(*streams)] == [40] * 12
        await asyncio.gather(*later)
    cluster.wait_running(2, 1)


async def test_a_client_that_leaves_frees_its_engine_at_once(cluster: ServeCluster) -> None:
    cluster.wait_running(2, 1)
    async with client(cluster) as caller:
        stream = await ask(caller, 10_000, stream=True)
        await anext(aiter(stream))
        plain = asyncio.create_task(ask(caller, 10_000))
        await figure(cluster, contract.METRIC_ENGINE_RUNNING, 2, kind="engine")
        await stream.close()
        plain.cancel()
        await figure(cluster, contract.METRIC_ENGINE_RUNNING, 0, seconds=3, kind="engine")
    await figure(cluster, contract.METRIC_RUNNING, 0)


ORDERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-request-timeout-seconds", b"0.001"),
    (b"x-request-id", b"\xff\xfe"),
    (b"x-session-id", b"\xff"),
    (b"serve_multiplexed_model_id", b"\xff"),
)


async def test_a_client_gives_no_orders_to_serve(cluster: ServeCluster) -> None:
    """Serve reads these headers before the ingress sees a request; by the last one it never looks for its client."""
    cluster.scale(1)
    cluster.wait_running(2, 1)
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    url = f"http://127.0.0.1:{cluster.ingress_port}/v1/chat/completions"
    async with httpx.AsyncClient(verify=False, timeout=60) as plain:
        for order in ORDERS:
            answer = await plain.post(url, json=body, headers=[(b"authorization", b"Bearer key-of-alice"), order])
            assert (order, answer.status_code) == (order, 200), answer.text
    async with client(cluster) as caller:
        stream = await ask(caller, 10_000, stream=True, extra_headers={"x-request-disconnect-disabled": "?1"})
        await anext(aiter(stream))
        await figure(cluster, contract.METRIC_ENGINE_RUNNING, 1, kind="engine")
        await stream.close()
        await figure(cluster, contract.METRIC_ENGINE_RUNNING, 0, seconds=3, kind="engine")


async def test_a_head_without_an_end_is_refused(cluster: ServeCluster) -> None:
    """By the server that Serve itself has started in the ingress replica, before anybody asks for a key."""
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.ingress_port)
    writer.write(b"GET /v1/models HTTP/1.1\r\n")
    for _ in range(MOST_OF_A_HEAD // 4096 + 1):
        writer.write(b"x-header: " + b"x" * 4084 + b"\r\n")
        await writer.drain()
    assert (await asyncio.wait_for(reader.readline(), 10)).split()[1] == b"431"
    writer.close()


async def test_what_waits_at_a_lost_node_is_answered_by_the_others(cluster: ServeCluster) -> None:
    cluster.scale(2)
    cluster.wait_running(2, 2)
    async with client(cluster) as caller:
        asking = [asyncio.create_task(ask(caller, 20)) for _ in range(16)]
        await asyncio.sleep(0.3)
        await asyncio.to_thread(cluster.remove_worker)
        answers = await asyncio.gather(*asking, return_exceptions=True)
        assert not [answer for answer in answers if isinstance(answer, BaseException)]
    cluster.add_worker()
    cluster.wait_running(2, 2)


async def test_a_request_that_kills_engines_kills_two_and_no_more(cluster: ServeCluster) -> None:
    cluster.scale(2)
    cluster.wait_running(2, 2)
    before = engine_replicas(cluster)
    messages: Any = [{"role": "user", "content": "kill"}]
    async with client(cluster) as caller:
        with pytest.raises(openai.InternalServerError, match="was lost"):
            await caller.chat.completions.create(model="m", messages=messages)
        assert (await ask(caller)).choices[0].message.content == "0 1 2 3"  # held until Serve has another
    cluster.wait_running(2, 2)
    assert engine_replicas(cluster) & before == set()


async def test_a_hung_engine_is_killed_and_replaced_and_costs_only_the_answer_that_it_had_begun(
    cluster: ServeCluster,
) -> None:
    cluster.scale(2)
    cluster.wait_running(2, 2)
    before = engine_replicas(cluster)
    messages: Any = [{"role": "user", "content": "hang"}]
    async with client(cluster) as caller:
        stream = await caller.chat.completions.create(model="m", messages=messages, max_tokens=10, stream=True)
        engine = (await anext(aiter(stream))).system_fingerprint
        hung = time.monotonic()
        asking = [asyncio.create_task(ask(caller, 20)) for _ in range(24)]
        with pytest.raises(openai.APIError, match="was lost"):
            await read(stream)
        assert time.monotonic() - hung >= STALL_SECONDS
        answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [answer for answer in answers if isinstance(answer, BaseException)] == []
    assert engine not in {answer.system_fingerprint for answer in answers}
    deadline = time.monotonic() + 60
    while len(engine_replicas(cluster) - before) < 1:
        assert time.monotonic() < deadline, "nothing came in the place of the hung engine"
        await asyncio.sleep(0.2)
    cluster.wait_running(2, 2)
    assert len(engine_replicas(cluster) & before) == 1, "the other one was left alone"


def engine_replicas(cluster: ServeCluster) -> set[str]:
    """Ids of those that run."""
    return {replica["replica_id"] for replica in cluster.running(contract.ENGINE_DEPLOYMENT)}


async def read(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]
