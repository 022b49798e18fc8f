"""An unmodified `openai` client against an endpoint on the dev cluster with the real engine and API keys."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import openai
import pytest
from endpoint_world import KEY, MODEL, REAL
from hostile_requests import unexplained
from openai_answers import (
    QUESTIONS,
    DirectVllm,
    caller,
    chat,
    check_completions,
    check_details,
    check_embeddings,
    check_greedy,
    check_refusals,
    check_together,
)
from pod_figures import sums

from tidemill_api import endpoint_contract as contract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from endpoint_world import Endpoints

pytestmark = [pytest.mark.engine, pytest.mark.timeout(400)]

LONGEST = MODEL["engineArgs"]["maxModelLen"]
KV_CACHE = {"VLLM_CPU_KVCACHE_SPACE": "1"}
WITH_TOOLS = MODEL | {"engineArgs": MODEL["engineArgs"] | {"toolCallParser": "hermes"}}


@pytest.fixture
def direct(tmp_path: Path) -> Iterator[DirectVllm]:
    """VLLM itself, at work on the same questions while the endpoint starts."""
    process = DirectVllm.begin(tmp_path)
    yield process
    process.end()


async def test_an_openai_client_gets_from_an_endpoint_what_vllm_gives(
    endpoints: Endpoints, direct: DirectVllm, figure: Callable[..., None]
) -> None:
    began = time.time()
    spec = {"model": WITH_TOOLS, "batching": {"maxSequences": 32}}
    endpoints.apply(endpoints.manifest(engine=REAL, environment=KV_CACHE, **spec))
    expected = direct.result()
    endpoints.wait_condition("Ready", "True", seconds=240)
    figure("the real engine answers after", time.time() - began)
    async with caller(endpoints.url(), KEY) as client:
        began = time.time()
        await check_greedy(client, expected)
        await check_refusals(client, LONGEST)
        await check_completions(client)
        await check_details(client)
        figure("sequential part", time.time() - began)
        began = time.time()
        await check_together(client)
        figure("32 requests at once", time.time() - began)
        await check_models(client)
        figure("the engine has stopped after its client left", await cancelled(endpoints, client))
        await check_keys(endpoints)
        check_counts(endpoints)
        odd = await unexplained(client, MODEL["name"])
        assert await chat(client, QUESTIONS[0]) == expected[0], "the engine lives"
        endpoints.patch({"replicas": {"min": 0}, "scaling": {"scaleToZeroAfterSeconds": 0}})
        endpoints.wait_running(0)
        await check_models(client)
    assert odd == []


async def check_models(client: openai.AsyncOpenAI) -> None:
    models = [model async for model in client.models.list()]
    assert [model.id for model in models] == [MODEL["name"]]
    assert (await client.models.retrieve(MODEL["name"])).id == MODEL["name"]


async def check_keys(endpoints: Endpoints) -> None:
    """No other key than the Secret's lets anybody in, and what is refused names no key."""
    messages: Any = [{"role": "user", "content": "hi"}]
    async with caller(endpoints.url(), "key-of-mallory") as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            await stranger.chat.completions.create(model=MODEL["name"], messages=messages)
        assert refused.value.code == "invalid_api_key"
        assert "mallory" not in str(refused.value)
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


async def cancelled(endpoints: Endpoints, client: openai.AsyncOpenAI) -> float:
    """A stream that its client leaves ends in the engine too, long before its last token; seconds until it has."""
    messages: Any = [{"role": "user", "content": "Tell a long story."}]
    more: Any = {"ignore_eos": True}
    stream = await client.chat.completions.create(
        model=MODEL["name"], messages=messages, max_tokens=LONGEST - 60, stream=True, extra_body=more
    )
    await anext(aiter(stream))
    assert engines(endpoints)[contract.METRIC_ENGINE_RUNNING] == 1
    await stream.close()
    left = time.monotonic()
    while engines(endpoints)[contract.METRIC_ENGINE_RUNNING]:
        assert time.monotonic() < left + 5, "the engine went on after its client had left"
        await asyncio.sleep(0.05)
    return time.monotonic() - left


def check_counts(endpoints: Endpoints) -> None:
    """Each request was counted once, under the status that its client saw, and none is left over."""
    counted = ingresses(endpoints)
    codes = {code: counted.get(f"{contract.METRIC_REQUESTS}{{{code}}}", 0) for code in (400, 401, 404, 499, 500, 503)}
    assert codes == {400: 2, 401: 2, 404: 2, 499: 1, 500: 0, 503: 0}
    assert counted[contract.METRIC_WAITING] == counted[contract.METRIC_RUNNING] == 0
    assert counted[contract.METRIC_PROMPT_TOKENS] > counted[contract.METRIC_COMPLETION_TOKENS] > 16 * 32


def ingresses(endpoints: Endpoints) -> dict[str, float]:
    addresses = [pod["status"]["podIP"] for role in ("head", "worker") for pod in endpoints.pods(role)]
    return sums(f"{address}:{contract.INGRESS_METRICS_PORT}" for address in addresses)


def engines(endpoints: Endpoints) -> dict[str, float]:
    return sums(f"{pod['status']['podIP']}:{contract.ENGINE_METRICS_PORT}" for pod in endpoints.pods("worker"))


@pytest.mark.all
async def test_an_embedding_endpoint_gives_the_numbers_that_vllm_gives(endpoints: Endpoints, tmp_path: Path) -> None:
    direct = DirectVllm.begin(tmp_path, "embed", "minilm")
    model = {"name": "minilm", "source": "/models/minilm", "engineArgs": {"dtype": "float32"}}
    try:
        endpoints.apply(endpoints.manifest(engine=REAL, environment=KV_CACHE, model=model))
        expected = direct.result()
    finally:
        direct.end()
    endpoints.wait_condition("Ready", "True", seconds=240)
    async with caller(endpoints.url(), KEY) as client:
        await check_embeddings(client, expected, "minilm")
        assert [model.id async for model in client.models.list()] == ["minilm"]
