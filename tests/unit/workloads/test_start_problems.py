"""What a user is told of an engine that does not start, from what vLLM writes down."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_workloads.serving.start_log import LONGEST, StartLog, cause_in
from tidemill_workloads.serving.start_problems import problem_of

if TYPE_CHECKING:
    from pathlib import Path

FAILED = RuntimeError("Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}")
KILLED = RuntimeError(
    "Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': -9}"
)
TRACEBACK = """\
(EngineCore pid=4711) Process EngineCore:
(EngineCore pid=4711) Traceback (most recent call last):
(EngineCore pid=4711)   File "/usr/lib/python3.11/multiprocessing/process.py", line 314, in _bootstrap
(EngineCore pid=4711)     self.run()
(EngineCore pid=4711)   File "/vllm/v1/engine/core.py", line 1515, in run_engine_core
(EngineCore pid=4711)     raise e
(EngineCore pid=4711) {raised}
[rank0]: W1122 13:00:00.000 destroy_process_group() was not called
"""
NO_ROOM = (
    "ValueError: To serve at least one request with the models's max seq len (40960), (5.62 GiB KV cache is needed,"
    " which is larger than the available KV cache memory (1.2 GiB). Try increasing `gpu_memory_utilization` or"
    " decreasing `max_model_len` when initializing the engine."
)
NO_WEIGHTS = "ValueError: Following weights were not initialized from checkpoint: {'lm_head.weight'}"


def test_the_cause_is_found_in_what_the_engines_process_wrote() -> None:
    assert cause_in(TRACEBACK.format(raised=NO_WEIGHTS)) == NO_WEIGHTS
    logged = "(EngineCore pid=1) ERROR 11-22 13:00:00 [core.py:1510] torch.OutOfMemoryError: CUDA out of memory."
    assert cause_in(f"{logged}\nbye\n") == "torch.OutOfMemoryError: CUDA out of memory."


def test_of_an_engine_in_two_processes_the_cause_is_what_the_inner_one_raised() -> None:
    """As vLLM 0.32 logs it: the outer one only says that the inner one failed."""
    worker, core = (
        "(Worker pid=9) ERROR 11-22 16:33:39 [multiproc.py:953]",
        "(EngineCore pid=8) ERROR 11-22 16:33:42 [core.py:1]",
    )
    log = (
        f"{worker} Traceback (most recent call last):\n"
        f"{worker} ValueError: There is no module or parameter named 'embeddings' in LlamaForCausalLM.\n"
        f"{core} Exception: WorkerProc initialization failed due to an exception in a background process.\n"
    )
    empty = RuntimeError("Engine core initialization failed. See root cause above. Failed core proc(s): {}")
    assert "no module or parameter named 'embeddings'" in problem_of(empty, log).message


@pytest.mark.parametrize("log", ["", "all is well\n", "an Error: of nobody", "ValueErrors: 3\n"])
def test_a_log_without_an_exception_tells_no_cause(log: str) -> None:
    assert cause_in(log) == ""


def test_the_cause_stands_in_the_message_in_the_place_of_a_hint_at_the_log() -> None:
    problem = problem_of(FAILED, TRACEBACK.format(raised=NO_WEIGHTS))
    assert problem.reason == EndpointReason.MODEL_NOT_LOADABLE
    assert "lm_head.weight" in problem.message
    assert "root cause" not in problem.message


def test_a_length_that_does_not_fit_into_memory_is_one_of_the_engine_arguments() -> None:
    problem = problem_of(FAILED, TRACEBACK.format(raised=NO_ROOM))
    assert problem.reason == EndpointReason.ENGINE_ARGUMENTS_REFUSED
    assert problem.message.startswith("spec.model.engineArgs: ")
    assert "5.62 GiB" in problem.message


def test_an_engine_that_the_kernel_killed_asks_for_memory() -> None:
    assert problem_of(KILLED, "").message.startswith("spec.resources.memory: ")


def test_what_was_written_since_the_start_is_read_and_nothing_older(tmp_path: Path) -> None:
    code = (
        "import os, sys; from tidemill_workloads.serving.start_log import StartLog, LONGEST;"
        "os.write(2, b'old\\n'); log = StartLog.begin(); os.write(2, b'x' * LONGEST + b'new\\n');"
        "print(log.text()[-9:])"
    )
    with (tmp_path / "err").open("ab") as err:
        done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=err, check=True, text=True)
    assert done.stdout == "xxxxxnew\n\n"
    assert (tmp_path / "err").stat().st_size > LONGEST


def test_a_standard_error_that_is_no_file_tells_nothing() -> None:
    code = "from tidemill_workloads.serving.start_log import StartLog as S; print(repr(S.begin().text()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "''\n"
    assert StartLog(2**60).text() == ""
