"""kubectl as the demo uses it: commands that fail with one message, and watches that tell silence too."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, cast

from demo.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SILENCE_SECONDS = 5.0
"""No new version for so long: time to look whether the operator still lives, and to show what was held back."""

AGAIN_SECONDS = 1.0
"""Between the end of a broken watch and the next one."""


@dataclass(frozen=True)
class Kubectl:
    """The words before every command: the program and its cluster."""

    command: tuple[str, ...]

    def run(self, *words: str, given: str | None = None) -> str:
        """What the command printed; `given` goes to its standard input. Raises DemoError where it fails."""
        result = self.attempt(*words, given=given)
        if result.returncode:
            raise DemoError(f"kubectl {words[0]}: {result.stderr.strip()}")
        return result.stdout

    def attempt(self, *words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """The command's whole outcome."""
        return subprocess.run([*self.command, *words], input=given, capture_output=True, text=True, check=False)

    def watch(
        self, resource: str, namespace: str, name: str, silence: float | None = None
    ) -> Iterator[dict[str, Any] | None]:
        """Watch events of one object for ever, and None for each `silence` seconds without one.

        Starts again when the connection breaks. Whoever stops listening ends kubectl with it.
        """
        options = ("-n", namespace, "--watch", "--output-watch-events", "-ojson")
        silence = SILENCE_SECONDS if silence is None else silence
        while True:
            command = [*self.command, "get", resource, name, *options]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                try:
                    yield from _objects(_lines_of(cast("IO[bytes]", process.stdout), silence))
                finally:
                    process.terminate()
            yield None
            time.sleep(AGAIN_SECONDS)


def _lines_of(pipe: IO[bytes], silence: float) -> Iterator[str | None]:
    """The lines of a process as they come, and None whenever none came for `silence` seconds."""
    unfinished = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not selector.select(silence):
                yield None
                continue
            data = os.read(pipe.fileno(), 1 << 16)
            if not data:
                return
            *lines, unfinished = (unfinished + data).split(b"\n")
            yield from (f"{line.decode()}\n" for line in lines)


def _objects(lines: Iterable[str | None]) -> Iterator[dict[str, Any] | None]:
    """The JSON objects that kubectl prints one after another, each over many lines; silence is handed on."""
    decoder, text = json.JSONDecoder(), ""
    for line in lines:
        if line is None:
            yield None
            continue
        text += line
        if not line.startswith(("{", "}")):
            continue  # an object is one line, or ends with a brace in the first column
        while text := text.lstrip():
            try:
                value, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break
            yield value
            text = text[end:]
