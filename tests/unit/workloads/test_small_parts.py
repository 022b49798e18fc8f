"""The small pure parts: output lines, engine arguments, the progress board, metrics, how much an actor takes."""

from __future__ import annotations

import json
import os
import pickle
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest
from workload_builders import job

from tidemill_api import job_contract as contract
from tidemill_api.conditions import Reason
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_workloads.engine.arguments import NO_MEDIA_DOMAIN, engine_arguments, engine_environment
from tidemill_workloads.engine.interface import Answer, EngineSettings
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.metrics import LiveMetrics
from tidemill_workloads.output_lines import error_body, part_line
from tidemill_workloads.parts import ERROR, RESULT, decode
from tidemill_workloads.progress import SILENT_SECONDS, Board, Report
from tidemill_workloads.rows import Row

if TYPE_CHECKING:
    from pathlib import Path


def test_a_result_line_has_the_envelope_of_the_batch_api() -> None:
    line = part_line(Row(3, 'a"ü', "/v1/x", {}), Answer(200, b'{"id":"x",\n"n":1}', 5, 6))
    assert (line.line, line.kind, line.prompt_tokens, line.completion_tokens) == (3, RESULT, 5, 6)
    written = json.loads(line.payload)
    assert list(written) == ["id", "custom_id", "response", "error"]
    assert list(written["response"]) == ["status_code", "request_id", "body"]
    assert written["id"].startswith("batch_req_")
    assert written["custom_id"] == 'a"ü'
    assert written["response"]["body"] == {"id": "x", "n": 1}
    assert decode(line.encode()) == [line]


def test_unicode_line_ends_are_escaped_so_that_no_reader_splits_a_line() -> None:
    text = "a\u2028b\u2029c\u0085d\ne"
    body = json.dumps({"text": text}, ensure_ascii=False).encode()
    line = part_line(Row(1, "x", "/v1/x", {}), Answer(200, body))
    assert len(line.payload.decode().splitlines()) == 1
    assert json.loads(line.payload)["response"]["body"]["text"] == text


def test_an_http_error_keeps_response_and_leaves_error_null() -> None:
    line = part_line(Row(1, "x", "/v1/x", {}), Answer(404, error_body("gone", "NotFoundError", 404, "model")))
    written = json.loads(line.payload)
    assert line.kind == ERROR
    assert written["error"] is None
    assert written["response"]["body"]["error"] == {
        "message": "gone",
        "type": "NotFoundError",
        "param": "model",
        "code": 404,
    }


def settings(gpus: int = 0, source: str = "/models/x", **engine_args: object) -> EngineSettings:
    return EngineSettings(ModelSpec(name="m", source=source, engine_args=engine_args), gpus)


@pytest.mark.parametrize(
    ("made", "has", "lacks"),
    [
        (settings(), ["--enforce-eager", "--max-num-seqs 128", "--dtype auto"], ["--tensor-parallel-size"]),
        (settings(max_num_seqs=7, max_model_len=512, dtype="float32"), ["--max-num-seqs 7", "--max-model-len 512"], []),
        (settings(gpus=1), ["--tensor-parallel-size 1"], ["--enforce-eager", "--distributed-executor-backend"]),
        (settings(gpus=4), ["--tensor-parallel-size 4", "--distributed-executor-backend mp"], []),
        (settings(gpus=1, gpu_memory_utilization_percent=85), ["--gpu-memory-utilization 0.85"], []),
        (settings(gpu_memory_utilization_percent=85), [], ["--gpu-memory-utilization"]),
        (settings(quantization="awq", max_num_batched_tokens=4096), ["--quantization awq", "batched-tokens 4096"], []),
        (settings(source="org/model"), ["--model org/model"], ["--tool-call-parser", "--enable-auto-tool-choice"]),
        (settings(tool_call_parser="hermes"), ["--tool-call-parser hermes", "--enable-auto-tool-choice"], []),
    ],
)
def test_engine_arguments_are_vllms_own(made: EngineSettings, has: list[str], lacks: list[str]) -> None:
    command = " ".join(engine_arguments(made))
    assert all(words in command for words in [*has, f"--allowed-media-domains {NO_MEDIA_DOMAIN}"])
    assert not any(words in command for words in [*lacks, "trust-remote-code"])


def test_the_engines_environment_leaves_the_pods_own_alone() -> None:
    assert engine_environment(settings(), {})["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert "VLLM_CPU_KVCACHE_SPACE" not in engine_environment(settings(), {"VLLM_CPU_KVCACHE_SPACE": "8"})
    assert "VLLM_CPU_KVCACHE_SPACE" not in engine_environment(settings(gpus=1), {})
    assert engine_environment(settings(), {})["TORCHDYNAMO_DISABLE"] == "1"
    assert "TORCHDYNAMO_DISABLE" not in engine_environment(settings(gpus=1), {})
    assert engine_environment(settings(), {})["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in engine_environment(settings(source="org/model"), {})


def test_logprobs_need_no_compiler_on_the_cpu() -> None:
    """vLLM's own function, which it compiles when a row first asks for logprobs; the CPU image has no compiler."""
    counts = """
import torch
from vllm.v1.sample.ops.logprobs import batched_count_greater_than
print(batched_count_greater_than(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([[1.5]])).tolist())
"""
    bare = {name: value for name, value in os.environ.items() if name != "TORCHDYNAMO_DISABLE"}
    environment = bare | {"CXX": "/nonexistent"} | engine_environment(settings(), bare)
    done = subprocess.run(
        [sys.executable, "-c", counts], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip().endswith("[2]"), done.stderr[-2000:]


def test_the_board_sums_writers_and_keeps_the_rows_in_flight_of_silent_ones() -> None:
    board = Board()
    board.report(Report("a", "10.0.0.1", in_flight=5, completed=10, prompt_tokens=3), now=0)
    board.report(Report("b", "10.0.0.2", in_flight=7, failed=1), now=SILENT_SECONDS - 1)
    board.report(Report("c", "10.0.0.2", in_flight=2), now=SILENT_SECONDS - 1)
    seen = board.snapshot(SILENT_SECONDS - 1)
    assert seen.in_flight == {"10.0.0.1": 5, "10.0.0.2": 9}
    seen = board.snapshot(SILENT_SECONDS + 1)
    assert seen.in_flight == {"10.0.0.1": 5, "10.0.0.2": 9}, "a busy worker must not look like one to take away"
    assert (seen.completed, seen.failed, seen.prompt_tokens, seen.live) == (10, 1, 3, 2)


def test_a_silent_writers_rows_are_forgotten_once_its_node_or_itself_reports_again() -> None:
    board = Board()
    board.report(Report("a", "10.0.0.1", in_flight=5, completed=10), now=0)
    board.report(Report("b", "10.0.0.2", in_flight=7), now=0)
    board.report(Report("new", "10.0.0.1", in_flight=2), now=SILENT_SECONDS + 1)
    board.report(Report("b", "10.0.0.2"), now=SILENT_SECONDS + 1)
    seen = board.snapshot(SILENT_SECONDS + 2)
    assert seen.in_flight == {"10.0.0.1": 2, "10.0.0.2": 0}
    assert seen.completed == 10
    assert board.snapshot(9 * SILENT_SECONDS).in_flight == {"10.0.0.1": 2}


def test_a_report_replaces_the_writers_last_one() -> None:
    board = Board()
    board.report(Report("a", "n", completed=1), now=0)
    board.report(Report("a", "n", completed=4, answered=6), now=1)
    seen = board.snapshot(1)
    assert (seen.completed, seen.answered, seen.still_writing) == (4, 6, 1)
    board.report(Report("a", "n", completed=4, stopped=True), now=2)
    assert board.snapshot(2).still_writing == 0
    assert board.silent(now=40, seconds=30) == ["a"]


def scrape(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        return str(response.read().decode())


def test_metrics_are_served_under_the_names_and_labels_of_the_contract(tmp_path: Path) -> None:
    metrics = LiveMetrics(job(tmp_path, attempt=3))
    metrics.phase("processing")
    metrics.serve()
    labels = 'attempt="3",job="shop/tickets"'
    assert contract.METRIC_ROWS_TOTAL not in scrape(metrics.port), "absent until known"
    metrics.known(200, 256)
    metrics.answered(150, 2, 3000, 900)
    metrics.in_flight({"10.0.0.1": 40, "10.0.0.2": 8})
    metrics.in_flight({"10.0.0.2": 9})
    metrics.rate(None)
    assert contract.METRIC_ROWS_PER_SECOND not in scrape(metrics.port), "absent until known"
    metrics.rate(12.5)
    text = scrape(metrics.port)
    assert f"{contract.METRIC_ROWS_TOTAL}{{{labels}}} 200.0" in text
    assert f"{contract.METRIC_ROWS_PER_SECOND}{{{labels}}} 12.5" in text
    assert f"{contract.METRIC_ROWS_PER_WORKER}{{{labels}}} 256.0" in text
    assert f"{contract.METRIC_ROWS_COMPLETED}{{{labels}}} 150.0" in text
    assert f'{contract.METRIC_PHASE}{{{labels},phase="processing"}} 1.0' in text
    assert f'{contract.METRIC_PHASE}{{{labels},phase="validating"}} 0.0' in text
    assert f'{contract.METRIC_ROWS_IN_FLIGHT}{{{labels},node="10.0.0.2"}} 9.0' in text
    assert "10.0.0.1" not in text


def test_a_metrics_port_that_is_taken_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill_workloads.metrics.PORT_RETRY_SECONDS", 0.01)
    with socket.create_server(("0.0.0.0", 0)) as other:
        metrics = LiveMetrics(job(tmp_path, metrics_port=other.getsockname()[1]))
        metrics.phase("processing")
        metrics.serve()
        assert metrics.port == 0
    while not metrics.port:
        pass
    assert contract.METRIC_PHASE in scrape(metrics.port)


def test_a_refusal_survives_its_way_between_processes() -> None:
    refusal = pickle.loads(pickle.dumps(JobRefused(Reason.VALIDATION_FAILED, "why", 3)))
    assert (refusal.reason, refusal.message, refusal.invalid_lines) == (Reason.VALIDATION_FAILED, "why", 3)
