"""The real engine behind the real driver: its answers are vLLM's own, and what vLLM would refuse costs only its row."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

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
PROMPTS = ("Once upon a time", "The tide comes in and")


def model_folder(name: str) -> Path:
    folder = MODELS / name
    assert (folder / "config.json").is_file(), f"no model in {folder}: run ./hack/setup.sh first"
    return folder


def chat_line(custom_id: str, question: str, **body: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    full = {"model": "smollm2", "messages": messages, "temperature": 0, "max_tokens": 16} | body
    return request(custom_id, body=full)


def completion_line(custom_id: str, prompt: str) -> dict[str, Any]:
    body = {"model": "smollm2", "prompt": prompt, "temperature": 0, "max_tokens": 16}
    return request(custom_id, url="/v1/completions", body=body)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with RayCluster(environment("", tmp_path_factory.mktemp("engines")) | {"VLLM_CPU_KVCACHE_SPACE": "1"}) as running:
        running.add_worker()
        yield running


def run_job(cluster: RayCluster, root: Path, lines: list[dict[str, Any]], model: ModelSpec) -> Outcome:
    write_lines(root / "input.jsonl", lines)
    config = job(root, model=model, mounts=(str(root), str(MODELS)), on_invalid="Skip")
    driver = DriverProcess.start(config, cluster.address, cluster.environment, root / "driver.log")
    code, outcome = driver.end(timeout=400)
    assert code == 0, driver.log
    assert outcome is not None
    return outcome


@dataclass
class Direct:
    """VLLM run directly on the same lines, beside the job: the loading of the one overlaps with that of the other."""

    process: subprocess.Popen[bytes]
    folder: Path

    @classmethod
    def start(cls, kind: str, model: Path, folder: Path, lines: list[dict[str, Any]]) -> Self:
        write_lines(folder / "direct.jsonl", lines)
        files = (str(model), str(folder / "direct.jsonl"), str(folder / "direct.json"))
        variables = environment("", folder) | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
        with (folder / "direct.log").open("wb") as log:
            command = [sys.executable, str(COMPARISON), kind, *files]
            return cls(subprocess.Popen(command, env=variables, stdout=log, stderr=log), folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def answers(self) -> list[Any]:
        code = self.process.wait(timeout=300)
        assert code == 0, (self.folder / "direct.log").read_text()[-3000:]
        found: list[Any] = json.loads((self.folder / "direct.json").read_text())
        return found


def output_lines(root: Path, name: str) -> dict[str, dict[str, Any]]:
    lines = (root / "output" / name).read_text().splitlines()
    return {line["custom_id"]: line for line in map(json.loads, lines)}


def test_greedy_answers_equal_vllms_own_and_each_fault_costs_only_its_row(cluster: RayCluster, tmp_path: Path) -> None:
    folder = model_folder("smollm2")
    questions = [chat_line(f"q-{number}", question) for number, question in enumerate(QUESTIONS)]
    questions += [completion_line(f"p-{number}", prompt) for number, prompt in enumerate(PROMPTS)]
    faults = [
        request("embedding", url="/v1/embeddings", body={"model": "smollm2", "input": "x"}),
        chat_line("too-long", "word " * 2000),
        chat_line("bad-parameter", "hi", temperature="hot"),
    ]
    arguments = {"dtype": "float32", "max_model_len": 512, "max_num_seqs": 1}
    lines = questions + faults
    with Direct.start("generate", folder, tmp_path, questions) as direct:
        spec = ModelSpec(name="smollm2", source=str(folder), engine_args=arguments)
        outcome = run_job(cluster, tmp_path, lines, spec)
        expected = direct.answers()
    assert outcome.reason == Reason.SOME_ROWS_FAILED
    assert (outcome.rows.completed, outcome.rows.failed) == (len(questions), 3)

    results = output_lines(tmp_path, "results.jsonl")
    bodies = [results[line["custom_id"]]["response"]["body"] for line in questions]
    choices = [body["choices"][0] for body in bodies]
    answers = [choice["message"]["content"] if "message" in choice else choice["text"] for choice in choices]
    assert answers == expected
    assert all(body["model"] == "smollm2" and body["usage"]["completion_tokens"] <= 16 for body in bodies)
    assert [body["object"] for body in bodies[len(QUESTIONS) :]] == ["text_completion"] * len(PROMPTS)
    used = [line["response"]["body"]["usage"] for line in results.values()]
    assert outcome.tokens.prompt == sum(usage["prompt_tokens"] for usage in used)
    assert outcome.tokens.completion == sum(usage["completion_tokens"] for usage in used)

    errors = output_lines(tmp_path, "errors.jsonl")
    faults_found = {name: line["response"]["body"]["error"] for name, line in errors.items()}
    assert {name: error["code"] for name, error in faults_found.items()} == {
        "embedding": "invalid_url",
        "too-long": "context_length_exceeded",
        "bad-parameter": "invalid_request",
    }
    assert "512" in faults_found["too-long"]["message"]
    assert faults_found["bad-parameter"]["param"] == "body.temperature"
    assert all(line["error"] is None and line["response"]["status_code"] == 400 for line in errors.values())


@pytest.mark.all
def test_embeddings_equal_vllms_own(cluster: RayCluster, tmp_path: Path) -> None:
    folder = model_folder("minilm")
    texts = ("the tide comes in", "die Flut kommt", "an invoice was paid twice")
    lines = [
        request(f"e-{number}", url="/v1/embeddings", body={"model": "minilm", "input": text})
        for number, text in enumerate(texts)
    ]
    arguments = {"dtype": "float32", "max_num_seqs": 1}
    with Direct.start("embed", folder, tmp_path, lines) as direct:
        outcome = run_job(cluster, tmp_path, lines, ModelSpec(name="minilm", source=str(folder), engine_args=arguments))
        theirs = direct.answers()
    assert outcome.reason == Reason.ALL_ROWS_ANSWERED
    assert outcome.tokens.prompt > 0
    results = output_lines(tmp_path, "results.jsonl")
    ours = [results[f"e-{number}"]["response"]["body"]["data"][0]["embedding"] for number in range(len(texts))]
    assert [len(vector) for vector in ours] == [384] * len(texts)
    for vector, expected in zip(ours, theirs, strict=True):
        assert vector == pytest.approx(expected, abs=1e-6)
