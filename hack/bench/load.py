"""What the realtime benchmarks ask and get back, as values, and the client process that does the asking."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

CLIENT = Path(__file__).with_name("load_client.py")
REQUEST_TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True)
class Target:
    """An OpenAI-compatible server: its address without /v1, and a key."""

    url: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """A POST with a JSON body, `at` seconds after the load began where the pace is open."""

    path: str
    body: dict[str, Any]
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Pace:
    """`open`: each request at its time. `closed`: `width` unanswered. `static`: `width` together, then the next."""

    kind: Literal["open", "closed", "static"] = "open"
    width: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered request. Times are monotonic seconds; `due` is when it should have been sent."""

    number: int
    due: float
    sent: float
    first: float
    last: float
    end: float
    tokens: int

    @property
    def first_token_seconds(self) -> float:
        """From when it was due to its first text, so that a late client counts against the server, not for it."""
        return self.first - self.due

    @property
    def token_seconds(self) -> float | None:
        """Seconds for each token after the first; None where there is no second."""
        return (self.last - self.first) / (self.tokens - 1) if self.tokens > 1 else None


@dataclass(frozen=True)
class Load:
    """Requests and how they are sent. `traced` ones carry their number in `traceparent`."""

    requests: Sequence[Request]
    pace: Pace = Pace()
    traced: bool = False

    def run(self, target: Target, answered: Callable[[int], None] = lambda _: None) -> list[Answer]:
        """All answers by number; `answered` is told how many there are so far. Raises SystemExit where one failed."""
        order = {
            "url": target.url,
            "key": target.key,
            "timeout": REQUEST_TIMEOUT_SECONDS,
            "pace": self.pace.kind,
            "width": self.pace.width,
            "traced": self.traced,
            "requests": [asdict(request) for request in self.requests],
        }
        found: list[Answer] = []
        with closing(_client(json.dumps(order))) as lines:
            for line in lines:
                found.append(read_answer(json.loads(line)))
                answered(len(found))
        if len(found) != len(self.requests):
            raise SystemExit(f"the client answered for {len(found)} of {len(self.requests)} requests")
        return sorted(found, key=lambda answer: answer.number)


def _client(order: str) -> Generator[str]:
    """The lines that the client prints. It ends with this generator, whatever ends that."""
    with subprocess.Popen(
        [sys.executable, "-P", str(CLIENT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdin is not None  # noqa: S101 - for the type checker: both are pipes
            assert process.stdout is not None  # noqa: S101 - for the type checker as well
            process.stdin.write(order + "\n")
            process.stdin.flush()
            yield from process.stdout
        finally:
            process.kill()  # of no effect on one that has ended


def read_answer(line: dict[str, Any]) -> Answer:
    """An answer as the client tells it. Raises SystemExit where the request failed: a benchmark measures no errors."""
    error = line.pop("error")
    if error:
        raise SystemExit(f"request {line['number']} failed: {error}")
    if line["first"] is None:
        line["first"] = line["last"] = line["end"]  # tokens, and no text of them
    return Answer(**line)
