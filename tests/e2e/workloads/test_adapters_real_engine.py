"""LoRA adapters with the real engine: what an endpoint and a job answer by an adapter's name is vLLM's own answer."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from driver_process import DriverProcess
from lora_adapters import make_adapter
from ray_cluster import RayCluster, environment
from serve_cluster import ServeCluster
from serving_world import config
from workload_builders import job, request, write_lines

from tidemill_api import endpoint_contract as contract
from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.common import ModelSpec

pytestmark = [pytest.mark.engine, pytest.mark.all, pytest.mark.timeout(500)]

FOLDER = Path(__file__).parents[3] / ".tidemill" / "models" / "smollm2"
CONFIG = FOLDER / "config.json"
QUESTIONS = (
    "What is the capital of France?",
    "Write one word that rhymes with 'tide'.",
    "Übersetze ins Englische: Guten Morgen, wie geht es Ihnen?",
)
ADAPTERS = {"flood": 4, "ebb": 8}
"""Ranks by name."""

MODEL = "smollm2"
NAMES = (MODEL, *ADAPTERS)
CACHE = {"VLLM_CPU_KVCACHE_SPACE": "1"}
Answers = dict[str, list[str]]
"""By model name, to each question."""


def body(name: str, question: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    return {"model": name, "messages": messages, "temperature": 0, "max_tokens": 16}


def make_adapters(folder: Path) -> dict[str, str]:
    """Their folders by name."""
    shape = json.loads(CONFIG.read_text())
    made = {
        name: make_adapter(folder / name, shape, rank=rank, seed=seed)
        for seed, (name, rank) in enumerate(ADAPTERS.items())
    }
    return {name: str(path) for name, path in made.items()}


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_adapters(tmp_path_factory.mktemp("adapters"))


@pytest.fixture(scope="module")
def expected(adapters: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What vLLM's offline class answers with a LoRARequest, or with none."""
    folder = tmp_path_factory.mktemp("direct")
    lines = [{"body": body(name, question)} for name in NAMES for question in QUESTIONS]
    (folder / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    program = str(Path(__file__).with_name("direct_vllm.py"))
    command = [sys.executable, program, "generate", str(FOLDER), str(folder / "in.jsonl"), str(folder / "out.json")]
    variables = environment("", folder) | CACHE | {"VLLM_LOGGING_LEVEL": "WARNING"}
    ended = subprocess.run(
        [*command, json.dumps(adapters)], env=variables, capture_output=True, timeout=300, check=False
    )
    assert ended.returncode == 0, ended.stderr.decode()[-3000:]
    texts = json.loads((folder / "out.json").read_text())
    by_name = {name: texts[len(QUESTIONS) * place :][: len(QUESTIONS)] for place, name in enumerate(NAMES)}
    assert len({tuple(answers) for answers in by_name.values()}) == len(NAMES), "each adapter has its own answers"
    return by_name


def spec(adapters: dict[str, str], **arguments: Any) -> ModelSpec:
    assert CONFIG.is_file(), f"no model in {FOLDER}: run ./hack/setup.sh first"
    args = {"dtype": "float32", "max_model_len": 512} | arguments
    named = [{"name": name, "source": source} for name, source in adapters.items()]
    return ModelSpec(name=MODEL, source=str(FOLDER), engine_args=args, adapters=named)


async def test_an_endpoint_answers_by_the_names_of_its_adapters(
    adapters: dict[str, str], expected: Answers, tmp_path: Path
) -> None:
    with ServeCluster(tmp_path, engine="", variables=CACHE) as cluster:
        cluster.add_worker()
        missing = spec(adapters | {"ebb": str(tmp_path / "not-yet")})
        problem = await start_problem(cluster, config(model=missing, max_sequences=4))
        assert problem.reason == "ModelNotFound"
        assert problem.message.startswith(f"spec.model.adapters[ebb].source: there is no folder {tmp_path}/not-yet")

        (tmp_path / "not-yet").symlink_to(adapters["ebb"])
        deploy(cluster, config(model=missing, max_sequences=4, revision="r2"))
        await asyncio.to_thread(cluster.wait_running, 1, 1, 240)
        http = httpx.AsyncClient(verify=False)
        url = f"http://127.0.0.1:{cluster.ingress_port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0, http_client=http) as client:
            await check_endpoint(client, expected)


async def check_endpoint(client: openai.AsyncOpenAI, expected: Answers) -> None:
    cards = [card.to_dict() async for card in client.models.list()]
    assert [(card["id"], card["parent"], card["max_model_len"]) for card in cards] == [
        (MODEL, None, 512),
        ("flood", MODEL, 512),
        ("ebb", MODEL, 512),
    ]
    for name in NAMES:
        answers = [await client.chat.completions.create(**body(name, question)) for question in QUESTIONS]
        assert {answer.model for answer in answers} == {name}
        assert [answer.choices[0].message.content for answer in answers] == expected[name]
    mixed = [(name, question) for question in QUESTIONS for name in NAMES]
    together = await asyncio.gather(*(client.chat.completions.create(**body(*one)) for one in mixed))
    assert [answer.model for answer in together] == [name for name, _ in mixed]
    with pytest.raises(openai.NotFoundError, match="'neap' does not exist"):
        await client.completions.create(model="neap", prompt="x")


def deploy(cluster: ServeCluster, wanted: contract.EndpointConfig) -> None:
    settings = contract.IngressSettings(queue_bound=100, request_timeout_seconds=300)
    cluster.deploy(wanted, settings, ingress=1, engines=1)


async def start_problem(cluster: ServeCluster, wanted: contract.EndpointConfig) -> contract.EngineProblem:
    """What keeps the engine from starting, as the operator reads it."""
    deploy(cluster, wanted)
    async with asyncio.timeout(120):
        while True:
            await asyncio.sleep(1)
            found = await asyncio.to_thread(cluster.rest, "GET", "/api/serve/applications/")
            deployments = found["applications"].get(contract.APPLICATION, {}).get("deployments", {})
            message = deployments.get(contract.ENGINE_DEPLOYMENT, {}).get("message", "")
            if (problem := contract.EngineProblem.from_text(message)) is not None:
                return problem


def test_rows_of_a_job_are_answered_by_the_adapter_that_they_name(
    adapters: dict[str, str], expected: Answers, tmp_path: Path
) -> None:
    rows = {f"{name}-{place}": body(name, question) for name in NAMES for place, question in enumerate(QUESTIONS)}
    lines = [request(custom_id, body=asked) for custom_id, asked in rows.items()]
    lines.append(request("unknown", body=body("neap", QUESTIONS[0])))
    write_lines(tmp_path / "input.jsonl", lines)
    mounts = (str(tmp_path), str(FOLDER.parent), str(Path(adapters["ebb"]).parent))
    wanted = job(tmp_path, model=spec(adapters, max_num_seqs=1), mounts=mounts, on_invalid="Skip")
    with RayCluster(environment("", tmp_path) | CACHE) as cluster:
        cluster.add_worker()
        driver = DriverProcess.start(wanted, cluster.address, cluster.environment, tmp_path / "driver.log")
        code, outcome = driver.end(timeout=400)
    assert (code, outcome and outcome.reason) == (0, Reason.SOME_ROWS_FAILED), driver.log
    results = {line["custom_id"]: line["response"]["body"] for line in output_lines(tmp_path, "results.jsonl")}
    for name in NAMES:
        answers = [results[f"{name}-{place}"] for place in range(len(QUESTIONS))]
        assert {answer["model"] for answer in answers} == {name}
        assert [answer["choices"][0]["message"]["content"] for answer in answers] == expected[name]
    (error,) = output_lines(tmp_path, "errors.jsonl")
    assert error["response"]["body"]["error"]["code"] == "model_not_found"


def output_lines(root: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "output" / name).read_text().splitlines()]
