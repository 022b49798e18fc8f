"""Runs the operator beside the dev cluster: one background process of this checkout, with a log and a pid file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from demo.errors import DemoError

START_SECONDS = 30.0
STOP_SECONDS = 10.0


class OperatorProcess:
    """The checkout's operator, started and stopped through files in `state`."""

    def __init__(self, state: Path, kubeconfig: Path) -> None:
        self._pid_file = state / "operator.pid"
        self._kubeconfig = kubeconfig
        self.log = state / "operator.log"

    def start(self) -> None:
        """Starts the operator anew, so that it runs this checkout's code. Raises DemoError where it ends at once."""
        self.stop()
        command = [
            sys.executable,
            "-m",
            "tidemill_operator",
            "--kubeconfig",
            str(self._kubeconfig),
            "--all-namespaces",
            "--health-port",
            "0",
        ]
        # The demo's folders are folders of this machine, so hostPath is allowed here, as the chart never does.
        environment = {**os.environ, "TIDEMILL_ALLOW_HOST_PATH": "true"}
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, start_new_session=True
            )
        self._pid_file.write_text(f"{process.pid}\n")
        time.sleep(0.5)
        if process.poll() is not None:
            raise DemoError(f"the operator ended at once; its log is {self.log}")

    def check(self) -> None:
        """Raises DemoError where the operator that was started has ended: nothing would ever move again."""
        if not (self._pid_file.exists() and _is_operator(int(self._pid_file.read_text()))):
            raise DemoError(f"the operator has ended; its log is {self.log}")

    def stop(self) -> None:
        """Ends the operator that the pid file names, if it is one."""
        if not self._pid_file.exists():
            return
        pid = int(self._pid_file.read_text())
        deadline = time.monotonic() + STOP_SECONDS
        sent = signal.SIGTERM
        while _is_operator(pid):
            os.kill(pid, sent)
            time.sleep(0.1)
            if time.monotonic() > deadline:
                sent = signal.SIGKILL
        self._pid_file.unlink()


def _is_operator(pid: int) -> bool:
    """Whether the process lives and is an operator: a pid may have been given to another process since."""
    try:
        return b"tidemill_operator" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
