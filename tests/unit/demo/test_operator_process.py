"""The operator that the demo runs beside the cluster, told by its pid file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demo.errors import DemoError
from demo.operator_process import OperatorProcess


def test_an_operator_that_ended_is_said_with_its_log(tmp_path: Path) -> None:
    operator = OperatorProcess(tmp_path, tmp_path / "kubeconfig")
    with pytest.raises(DemoError, match=r"ended; its log is .*operator\.log"):
        operator.check()  # never started
    (tmp_path / "operator.pid").write_text(f"{os.getpid()}\n")
    with pytest.raises(DemoError, match="ended"):
        operator.check()  # the pid is another process's by now
    operator.stop()
    assert not (tmp_path / "operator.pid").exists()


def test_an_operator_that_lives_is_nothing_to_say(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print(flush=True); import time; time.sleep(20)", "tidemill_operator"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # only a process that runs shows its command line
        (tmp_path / "operator.pid").write_text(f"{process.pid}\n")
        operator = OperatorProcess(tmp_path, tmp_path / "kubeconfig")
        operator.check()
        operator.stop()
        assert process.wait(5) < 0
