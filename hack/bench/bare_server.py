"""The other side of the realtime benchmark: vLLM's own server with the arguments and environment of the endpoint's."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import psutil
from common import clean_environment
from control_plane_processes import free_port
from load import Target
from memory import trees

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from served_model import ServedModel

START_SECONDS = 240.0
STOP_SECONDS = 30.0


@dataclass
class BareServer:
    """`python -m vllm.entrypoints.openai.api_server`. A context manager: it serves inside.

    It asks for a key too, and writes no line for each request, as the endpoint's does not.
    """

    folder: Path
    model: ServedModel
    target: Target = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)

    def __enter__(self) -> Self:
        port = free_port()
        self.target = Target(f"http://127.0.0.1:{port}", secrets.token_urlsafe(24))
        command = [sys.executable, "-P", "-m", "vllm.entrypoints.openai.api_server", *self.model.server().arguments()]
        command += ["--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log"]
        environment = clean_environment() | {"VLLM_API_KEY": self.target.key}
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            self._await_health()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def processes(self) -> Iterable[psutil.Process]:
        """The server's and its engine's."""
        return trees([psutil.Process(self._process.pid)])

    @property
    def _log(self) -> Path:
        return self.folder / "bare.log"

    def _await_health(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"vLLM's server does not start:\n{self._log.read_text()[-3000:]}")
            time.sleep(0.5)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.target.url}/health", timeout=2) as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False
