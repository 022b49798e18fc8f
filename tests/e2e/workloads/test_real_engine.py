"""The real engine behind the real driver: its answers are vLLM's own, its errors are those of vLLM's server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from driver_process import DriverProcess
from ray_cluster import RayCluster, environment
from workload_builders import job, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.common import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidemill_api.job_contract import Outcome

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

MODELS = Path(__file__).parents[3] / ".tidemill" / "models"
COMPARISON = Path(__file__).with_name("direct_vllm.py")
QUESTIONS = (
    "What is the capital of France?",
    "Classify this ticket as billing, login or other: I was charged twice.",
    "Write one word that rhymes with 'tide'.",
    "Übersetze ins Englische: Guten Morgen, wie geht es Ihnen?",
    "List three colours.",
    "My parcel is late and nobody answers. What should I do?",
)


def model_folder(name: str) -> Path:
    folder = MODELS / name
    assert (folder / "config.json").is_file(), f"no model in {folder}: run ./hack/setup.sh first"
    return folder


def chat_line(custom_id: str, question: str, **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    full = {"model": "smollm2", "messages": messages, "temperature": 0, "max_tokens": 16} | body
    return request(custom_id, body=full)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with RayCluster(environment("", tmp_path_factory.mktemp("engines")) | {"VLLM_CPU_KVCACHE_SPACE": "1"}) as running:
        running.add_worker()
        yield running


def run_job(cluster: RayCluster, root: Path, lines: list[dict[str, Any]], model: ModelSpec) -> Outcome:
    write_lines(root / "input.jsonl", lines)
    config = job(root, model=model, mounts=(str(root), str(MODELS)))
    driver = DriverProcess.start(config, cluster.address, cluster.environment, root / "driver.log")
    code, outcome = driver.end(timeout=400)
    assert code == 0, driver.log
    assert outcome is not None
    return outcome


def directly(kind: str, model: Path, root: Path, lines: list[dict[str, Any]]) -> list[Any]:
    answers, source = root / "direct.json", root / "direct.jsonl"
    write_lines(source, lines)
    command = [sys.executable, str(COMPARISON), kind, str(model), str(source), str(answers)]
    variables = environment("", root) | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[Any] = json.loads(answers.read_text())
    return found


def output_lines(root: Path, name: str) -> dict[str, dict[str, Any]]:
    lines = (root / "output" / name).read_text().splitlines()
    return {line["custom_id"]: line for line in map(json.loads, lines)}


def test_greedy_answers_equal_vllms_own_and_each_fault_costs_only_its_row(cluster: RayCluster, tmp_path: Path) -> None:
    folder = model_folder("smollm2")
    questions = [chat_line(f"q-{number}", question) for number, question in enumerate(QUESTIONS)]
    faults = [
        request("completion", url="/v1/completions", body={"model": "smollm2", "prompt": "Once upon", "max_tokens": 4}),
        request("embedding", url="/v1/embeddings", body={"model": "smollm2", "input": "x"}),
        chat_line("too-long", "word " * 2000),
        chat_line("bad-parameter", "hi", temperature="hot"),
    ]
    arguments = {"dtype": "float32", "max_model_len": 512, "max_num_seqs": 1}
    lines = questions + faults
    outcome = run_job(cluster, tmp_path, lines, ModelSpec(name="smollm2", source=str(folder), engine_args=arguments))
    assert outcome.reason == Reason.SOME_ROWS_FAILED
    assert (outcome.rows.completed, outcome.rows.failed) == (len(QUESTIONS) + 1, 3)

    results = output_lines(tmp_path, "results.jsonl")
    bodies = [results[f"q-{number}"]["response"]["body"] for number in range(len(QUESTIONS))]
    answers = [body["choices"][0]["message"]["content"] for body in bodies]
    assert answers == directly("chat", folder, tmp_path, questions)
    assert all(body["model"] == "smollm2" and body["usage"]["completion_tokens"] <= 16 for body in bodies)
    assert results["completion"]["response"]["body"]["object"] == "text_completion"
    used = [line["response"]["body"]["usage"] for line in results.values()]
    assert outcome.tokens.prompt == sum(usage["prompt_tokens"] for usage in used)
    assert outcome.tokens.completion == sum(usage["completion_tokens"] for usage in used)

    errors = output_lines(tmp_path, "errors.jsonl")
    assert {name: line["response"]["status_code"] for name, line in errors.items()} == {
        "embedding": 501,
        "too-long": 400,
        "bad-parameter": 400,
    }
    assert "maximum context length is 512" in errors["too-long"]["response"]["body"]["error"]["message"]
    assert errors["bad-parameter"]["response"]["body"]["error"]["param"] == "body.temperature"
    for line in errors.values():
        assert line["error"] is None
        assert set(line["response"]["body"]["error"]) >= {"message", "type", "param", "code"}


def test_embeddings_equal_vllms_own(cluster: RayCluster, tmp_path: Path) -> None:
    folder = model_folder("minilm")
    texts = ("the tide comes in", "die Flut kommt", "an invoice was paid twice")
    lines = [
        request(f"e-{number}", url="/v1/embeddings", body={"model": "minilm", "input": text})
        for number, text in enumerate(texts)
    ]
    arguments = {"dtype": "float32", "max_num_seqs": 1}
    outcome = run_job(cluster, tmp_path, lines, ModelSpec(name="minilm", source=str(folder), engine_args=arguments))
    assert outcome.reason == Reason.ALL_ROWS_ANSWERED
    assert outcome.tokens.prompt > 0
    results = output_lines(tmp_path, "results.jsonl")
    ours = [results[f"e-{number}"]["response"]["body"]["data"][0]["embedding"] for number in range(len(texts))]
    theirs = directly("embed", folder, tmp_path, lines)
    assert [len(vector) for vector in ours] == [384] * len(texts)
    for vector, expected in zip(ours, theirs, strict=True):
        assert vector == pytest.approx(expected, abs=1e-6)
