"""The `openai` client against the application on a real Ray Serve with the real engine: vLLM's words come through."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from ray_cluster import environment
from serve_cluster import ServeCluster
from serving_world import config

from tidemill_api import endpoint_contract as contract
from tidemill_api.v1alpha1.common import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.engine, pytest.mark.timeout(500)]

MODELS = Path(__file__).parents[3] / ".tidemill" / "models"
QUESTIONS = (
    "What is the capital of France?",
    "Write one word that rhymes with 'tide'.",
    "Übersetze ins Englische: Guten Morgen, wie geht es Ihnen?",
)


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
    http = httpx.AsyncClient(verify=False, limits=httpx.Limits(max_connections=None))
    url = f"http://127.0.0.1:{cluster.ingress_port}/v1"
    return openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0, timeout=120, http_client=http)


def directly(folder: Path) -> list[str]:
    """What vLLM's offline class answers to the questions."""
    lines = [{"body": {"messages": [{"role": "user", "content": question}]}} for question in QUESTIONS]
    (folder / "direct.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    command = [sys.executable, str(Path(__file__).with_name("direct_vllm.py")), "generate", str(MODELS / "smollm2")]
    variables = environment("", folder) | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    files = [str(folder / "direct.jsonl"), str(folder / "direct.json")]
    ended = subprocess.run([*command, *files], env=variables, capture_output=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: list[str] = json.loads((folder / "direct.json").read_text())
    return found


async def test_the_openai_client_gets_what_vllm_gives(cluster: ServeCluster, tmp_path: Path) -> None:
    expected = directly(tmp_path)
    async with deploy(cluster, real_config("smollm2", max_model_len=512)) as caller:
        assert [await chat(caller, question) for question in QUESTIONS] == expected
        assert [await streamed(caller, question) for question in QUESTIONS] == expected
        await check_refusals(caller)
        await check_completions(caller)
        await check_details(caller)
        together = [chat(caller, f"{QUESTIONS[number % 3]} ({number})") for number in range(32)]
        assert all(await asyncio.gather(*together))
        await check_cancelled(cluster, caller)
    figures = cluster.figures("ingress")
    assert figures[contract.METRIC_PROMPT_TOKENS] > figures[contract.METRIC_COMPLETION_TOKENS] > 16 * 32
    assert figures[contract.METRIC_WAITING] == figures[contract.METRIC_RUNNING] == 0


async def chat(caller: openai.AsyncOpenAI, question: str) -> str:
    messages: Any = [{"role": "user", "content": question}]
    answer = await caller.chat.completions.create(model="smollm2", messages=messages, temperature=0, max_tokens=16)
    assert answer.usage is not None
    return answer.choices[0].message.content or ""


async def streamed(caller: openai.AsyncOpenAI, question: str) -> str:
    messages: Any = [{"role": "user", "content": question}]
    stream = await caller.chat.completions.create(
        model="smollm2", messages=messages, temperature=0, max_tokens=16, stream=True
    )
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def check_refusals(caller: openai.AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "word " * 2000}]
    with pytest.raises(openai.BadRequestError, match="512"):
        await caller.chat.completions.create(model="smollm2", messages=messages)
    with pytest.raises(openai.NotFoundError, match="gpt-4"):
        await caller.chat.completions.create(model="gpt-4", messages=messages)
    with pytest.raises(openai.BadRequestError):
        await caller.completions.create(model="smollm2", prompt="x", temperature=-1)
    with pytest.raises(openai.NotFoundError):
        await caller.embeddings.create(model="smollm2", input="x")


async def check_completions(caller: openai.AsyncOpenAI) -> None:
    answer = await caller.completions.create(
        model="smollm2", prompt=["The tide", "One two"], max_tokens=4, temperature=0
    )
    assert len(answer.choices) == 2
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


async def check_details(caller: openai.AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "hi"}]
    answer = await caller.chat.completions.create(
        model="smollm2", messages=messages, max_tokens=3, logprobs=True, top_logprobs=2, n=2
    )
    assert len(answer.choices) == 2
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert len(logprobs.content[0].top_logprobs) == 2


async def check_cancelled(cluster: ServeCluster, caller: openai.AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Tell a long story."}]
    extra = {"ignore_eos": True}
    stream = await caller.chat.completions.create(
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


@pytest.mark.all
async def test_embeddings_and_an_engine_that_cannot_start(cluster: ServeCluster) -> None:
    async with deploy(cluster, real_config("minilm")) as caller:
        answer = await caller.embeddings.create(model="minilm", input=["the tide comes in", "die Flut kommt"])
        assert [len(one.embedding) for one in answer.data] == [384, 384]
        with pytest.raises(openai.NotFoundError):
            await caller.completions.create(model="minilm", prompt="x")
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
