"""A Ray cluster in a process of its own, seen from the tests: what `ray_cluster` and `serve_cluster` share.

The process takes one JSON command a line on stdin and answers each with one line on a pipe of its own, so that the
tests' process holds no Ray, no warnings of Ray's become the tests', and what Ray prints is no answer.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

ANSWERS = 7
"""The descriptor that the process answers on."""

STOP_SECONDS = 60
"""For a cluster that is told to stop; Serve drains its replicas first."""


def say(answer: dict[str, Any]) -> None:
    """In the process: one answer."""
    os.write(ANSWERS, json.dumps(answer).encode() + b"\n")


def obey(cluster: Any, worker: dict[str, Any]) -> None:
    """In the process: adds such workers to Ray's cluster and removes them (SIGKILL), until it is told to stop."""
    nodes: list[Any] = []
    for line in sys.stdin:
        command = json.loads(line)["do"]
        if command == "add":
            nodes.append(cluster.add_node(**worker))
        elif command == "remove":
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        else:
            return
        say({"workers": len(nodes)})


@dataclass
class ClusterProcess:
    """The process of `python -m <module>`; `environment` is what its raylets see, and so the engines.

    `first` is what it said when its cluster stood.
    """

    environment: dict[str, str]
    module: str
    log: Path = Path(os.devnull)
    first: dict[str, Any] = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)
    _answers: Any = field(init=False)

    def __enter__(self) -> Self:
        ours, theirs = os.pipe()
        command = ["bash", "-c", f'exec "$0" -m {self.module} {ANSWERS}>&{theirs} >&2', sys.executable]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stderr=log, env=self.environment, pass_fds=[theirs], cwd="/"
            )
        os.close(theirs)
        self._answers = os.fdopen(ours, "rb")
        self.first = self._answer()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):  # it has ended already
            self._send("stop")
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._answers.close()

    def add_worker(self) -> None:
        """One more worker node with room for one engine."""
        self._ask("add")

    def remove_worker(self) -> None:
        """The oldest worker node is lost: its processes are killed."""
        self._ask("remove")

    def _ask(self, what: str) -> None:
        self._send(what)
        self._answer()

    def _send(self, what: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what}).encode() + b"\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        assert line, f"the Ray cluster ended, see {self.log}"
        answer: dict[str, Any] = json.loads(line)
        return answer
