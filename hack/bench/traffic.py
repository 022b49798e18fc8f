"""The requests of the realtime benchmarks: whose prompts, how long the answers, when they arrive. Pure but for files.

Seeded, so that both sides of a benchmark get the same requests. Each prompt gets a number of its own in front, so that
no answer comes from the prefix cache but for what real traffic shares, the system prompt.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from load import Request

from tidemill_workloads.urls import CHAT, COMPLETIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEDIAN_TOKENS = 24
SPREAD = 0.7
"""Of the logarithm: nine of ten answers have between 0.3 and 3.2 times the median."""

SHORTEST, LONGEST = 4, 128


@dataclass(frozen=True)
class Traffic:
    """Prompts to draw requests from. `natural`: the model ends its answers; else their lengths are drawn."""

    model: str
    prompts: tuple[tuple[str, dict[str, Any]], ...]
    natural: bool = False

    def requests(self, count: int, seed: int, label: str = "") -> list[Request]:
        """`count` requests, the same for the same seed; with another label the same but for the numbers in front."""
        drawn = random.Random(seed)  # noqa: S311 - a load to repeat, no secret
        return [self._request(number, f"{label}{seed}.{number}", answer_tokens(drawn)) for number in range(count)]

    def poisson(self, rate: float, seconds: float, seed: int) -> list[Request]:
        """Requests that arrive independently, `rate` a second on average, for so long; one at least."""
        times = list(itertools.takewhile(lambda at: at < seconds, arrivals(rate, seed))) or [0.0]
        plain = self.requests(len(times), seed)
        return [Request(request.path, request.body, at) for request, at in zip(plain, times, strict=True)]

    def _request(self, number: int, label: str, tokens: int) -> Request:
        path, prompt = self.prompts[number % len(self.prompts)]
        body = {"temperature": 0, **numbered(prompt, label), "model": self.model}
        if not self.natural:
            body |= {"max_tokens": tokens, "ignore_eos": True}
        elif "max_tokens" not in body:
            body["max_tokens"] = LONGEST
        return Request(path, body | {"stream": True, "stream_options": {"include_usage": True}})


def answer_tokens(drawn: random.Random) -> int:
    """The length of one answer: log-normal, within bounds."""
    return min(max(round(drawn.lognormvariate(math.log(MEDIAN_TOKENS), SPREAD)), SHORTEST), LONGEST)


def arrivals(rate: float, seed: int) -> Iterator[float]:
    """Seconds at which requests of a Poisson process arrive, the first after one gap; without end."""
    drawn = random.Random(seed)  # noqa: S311 - a load to repeat, no secret
    return itertools.accumulate(drawn.expovariate(rate) for _ in itertools.count())


def numbered(prompt: dict[str, Any], number: str) -> dict[str, Any]:
    """The prompt with a number in front of what the user says."""
    if "messages" not in prompt:
        return {**prompt, "prompt": f"({number}) {prompt['prompt']}"}
    *before, last = prompt["messages"]
    if not isinstance(last.get("content"), str):
        return prompt  # text in parts, or a tool's result: sent as it is
    return {**prompt, "messages": [*before, {**last, "content": f"({number}) {last['content']}"}]}


def read_prompts(path: Path) -> tuple[tuple[str, dict[str, Any]], ...]:
    """URL and body of each line: a line of a batch input, a request's body, or plain text, which becomes a chat.

    What asks for a form of the answer (structured outputs) or for several is left out: answers are to differ in length
    only. Raises SystemExit with the line that is none of these.
    """
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    if not lines:
        raise SystemExit(f"{path} has no prompts")
    return tuple(_prompt(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1))


def _prompt(line: str, where: str) -> tuple[str, dict[str, Any]]:
    if not line.lstrip().startswith("{"):
        return CHAT, {"messages": [{"role": "user", "content": line.strip()}]}
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise SystemExit(f"{where}: not JSON: {error}") from error
    body = found.get("body", found)
    kept = {key: body[key] for key in ("messages", "prompt", "max_tokens", "temperature", "tools") if key in body}
    if not isinstance(kept.get("messages"), list) and not isinstance(kept.get("prompt"), str):
        raise SystemExit(f"{where}: neither `messages` nor a `prompt` of text")
    return (CHAT if "messages" in kept else COMPLETIONS), kept
