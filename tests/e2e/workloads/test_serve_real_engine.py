"""The `openai` client against the application on a real Ray Serve with the real engine: vLLM's words come through.

The same as `test_endpoint_openai.py` asks of a whole endpoint, without cluster and operator: tells where a fault lies.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from openai_answers import (
    MODELS,
    DirectVllm,
    caller,
    check_completions,
    check_details,
    check_embeddings,
    check_greedy,
    check_refusals,
    check_together,
)
from serve_cluster import ServeCluster
from serving_world import config

from tidemill_api import endpoint_contract as contract
from tidemill_api.v1alpha1.common import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import openai

pytestmark = [pytest.mark.all, pytest.mark.engine, pytest.mark.timeout(500)]


def real_config(model: str, **arguments: Any) -> contract.EndpointConfig:
    folder = MODELS / model
    assert (folder / "config.json").is_file(), f"no model in {folder}: run ./hack/setup.sh first"
    spec = ModelSpec(name=model, source=str(folder), engine_args={"dtype": "float32"} | arguments)
    return config(model=spec, max_sequences=32)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeCluster]:
    with ServeCluster(
        tmp_path_factory.mktemp("serve"), engine="", variables={"VLLM_CPU_KVCACHE_SPACE": "1"}
    ) as running:
        running.add_worker()
        yield running


def deploy(cluster: ServeCluster, wanted: contract.EndpointConfig) -> openai.AsyncOpenAI:
    settings = contract.IngressSettings(queue_bound=100, request_timeout_seconds=300)
    cluster.deploy(wanted, settings, ingress=1, engines=1)
    cluster.wait_running(1, 1, seconds=240)
    return caller(f"http://127.0.0.1:{cluster.ingress_port}/v1")


async def test_the_openai_client_gets_what_vllm_gives(cluster: ServeCluster, tmp_path: Path) -> None:
    direct = DirectVllm.begin(tmp_path)
    try:
        client = deploy(cluster, real_config("smollm2", max_model_len=512, tool_call_parser="hermes"))
        expected = direct.result()
    finally:
        direct.end()
    async with client:
        await check_greedy(client, expected)
        await check_refusals(client, 512)
        await check_completions(client)
        await check_details(client)
        await check_together(client)
        await check_cancelled(cluster, client)
    figures = cluster.figures("ingress")
    assert figures[contract.METRIC_PROMPT_TOKENS] > figures[contract.METRIC_COMPLETION_TOKENS] > 16 * 32
    assert figures[contract.METRIC_WAITING] == figures[contract.METRIC_RUNNING] == 0


async def check_cancelled(cluster: ServeCluster, client: openai.AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Tell a long story."}]
    extra = {"ignore_eos": True}
    stream = await client.chat.completions.create(
        model="smollm2", messages=messages, max_tokens=450, stream=True, extra_body=extra
    )
    await anext(aiter(stream))
    assert cluster.figures("engine")[contract.METRIC_ENGINE_RUNNING] == 1
    await stream.close()
    for _ in range(40):
        if cluster.figures("engine")[contract.METRIC_ENGINE_RUNNING] == 0:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the engine went on after its client had left")


async def test_embeddings_and_an_engine_that_cannot_start(cluster: ServeCluster, tmp_path: Path) -> None:
    direct = DirectVllm.begin(tmp_path, "embed", "minilm")
    try:
        client = deploy(cluster, real_config("minilm"))
        expected = direct.result()
    finally:
        direct.end()
    async with client:
        await check_embeddings(client, expected, "minilm")
    settings = contract.IngressSettings(queue_bound=100, request_timeout_seconds=300)
    cluster.deploy(real_config("smollm2", max_model_len=9_000_000), settings, ingress=1, engines=1)
    problem = None
    async with asyncio.timeout(120):
        while problem is None:
            await asyncio.sleep(1)
            found = await asyncio.to_thread(cluster.rest, "GET", "/api/serve/applications/")
            deployment = found["applications"][contract.APPLICATION]["deployments"].get(contract.ENGINE_DEPLOYMENT, {})
            problem = contract.EngineProblem.from_text(deployment.get("message", ""))
    assert problem.reason == "EngineArgumentsRefused"
    assert "engineArgs" in problem.message
