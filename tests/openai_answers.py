"""What the `openai` client must get from an endpoint with the real engine, wherever that endpoint runs.

Used against the Serve application alone and against a whole endpoint on a cluster. What is expected of greedy answers
comes from vLLM run directly, in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import openai
import pytest
from ray_cluster import environment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TESTS = Path(__file__).parent
MODELS = TESTS.parent / ".tidemill" / "models"
MODEL = "smollm2"
QUESTIONS = (
    "What is the capital of France?",
    "Write one word that rhymes with 'tide'.",
    "Übersetze ins Englische: Guten Morgen, wie geht es Ihnen?",
)
TOKENS = 16
"""Tokens of a greedy answer, as `direct_vllm.py` makes them."""

TEXTS = ("the tide comes in", "die Flut kommt")
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather at a place.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Paris", "Bergen"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def caller(url: str, key: str = "any") -> openai.AsyncOpenAI:
    """A client that sends nothing twice and holds as many connections as it needs."""
    http = httpx.AsyncClient(verify=False, limits=httpx.Limits(max_connections=None))
    return openai.AsyncOpenAI(base_url=url, api_key=key, max_retries=0, timeout=120, http_client=http)


@dataclass(frozen=True)
class DirectVllm:
    """vLLM's offline class at work on the questions, or on the texts, meanwhile."""

    process: subprocess.Popen[bytes]
    answers: Path

    @classmethod
    def begin(cls, folder: Path, kind: str = "generate", model: str = MODEL) -> DirectVllm:
        """Starts it; `kind` is `generate` or `embed`."""
        bodies: Iterator[Any] = (
            ({"messages": [{"role": "user", "content": question}]} for question in QUESTIONS)
            if kind == "generate"
            else ({"input": text} for text in TEXTS)
        )
        given, answers = folder / f"{kind}.jsonl", folder / f"{kind}.json"
        given.write_text("".join(json.dumps({"body": body}) + "\n" for body in bodies))
        program = str(TESTS / "e2e" / "workloads" / "direct_vllm.py")
        command = [sys.executable, program, kind, str(MODELS / model), str(given), str(answers)]
        variables = environment("", folder) | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
        with (folder / f"{kind}.log").open("wb") as log:
            return cls(subprocess.Popen(command, env=variables, stdout=log, stderr=log), answers)

    def result(self, seconds: float = 300) -> Any:
        """What it answers to each: a text or an embedding."""
        ended = self.process.wait(seconds)
        assert ended == 0, self.answers.with_suffix(".log").read_text()[-3000:]
        return json.loads(self.answers.read_text())

    def end(self) -> None:
        """Stops it where it still runs."""
        self.process.kill()
        self.process.wait()


async def chat(client: openai.AsyncOpenAI, question: str, **more: Any) -> str:
    """The greedy answer to a question."""
    messages: Any = [{"role": "user", "content": question}]
    options = {"model": MODEL, "temperature": 0, "max_tokens": TOKENS} | more
    answer = await client.chat.completions.create(messages=messages, **options)
    assert answer.usage is not None
    return answer.choices[0].message.content or ""


async def streamed(client: openai.AsyncOpenAI, question: str) -> str:
    """The same, from the pieces of a stream, which has its usage at the end."""
    messages: Any = [{"role": "user", "content": question}]
    stream = await client.chat.completions.create(
        model=MODEL,
        messages=messages,
        temperature=0,
        max_tokens=TOKENS,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[-1].usage is not None
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert sum(map(bool, pieces)) > 1, "a stream comes in pieces"
    return "".join(pieces)


async def check_greedy(client: openai.AsyncOpenAI, expected: Sequence[str]) -> None:
    """One question after the other, streamed and not: token for token what vLLM says by itself."""
    assert [await chat(client, question) for question in QUESTIONS] == expected
    assert [await streamed(client, question) for question in QUESTIONS] == expected


async def check_refusals(client: openai.AsyncOpenAI, longest: int) -> None:
    """Wrong model, over-long prompt, a parameter out of bounds, what this model cannot do: each says what is wrong."""
    messages: Any = [{"role": "user", "content": "word " * 2000}]
    with pytest.raises(openai.BadRequestError, match=str(longest)):
        await client.chat.completions.create(model=MODEL, messages=messages)
    with pytest.raises(openai.NotFoundError, match=r"gpt-4.*smollm2") as unknown:
        await client.chat.completions.create(model="gpt-4", messages=messages)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError, match="temperature"):
        await client.completions.create(model=MODEL, prompt="x", temperature=-1)
    with pytest.raises(openai.NotFoundError):
        await client.embeddings.create(model=MODEL, input="x")


async def check_completions(client: openai.AsyncOpenAI) -> None:
    """Several prompts in one request, whole and as a stream."""
    prompts = ["The tide", "One two"]
    answer = await client.completions.create(model=MODEL, prompt=prompts, max_tokens=4, temperature=0)
    assert len(answer.choices) == 2
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    stream = await client.completions.create(model=MODEL, prompt=prompts[0], max_tokens=4, temperature=0, stream=True)
    pieces = [chunk.choices[0].text async for chunk in stream if chunk.choices]
    assert "".join(pieces) == answer.choices[0].text


async def check_details(client: openai.AsyncOpenAI) -> None:
    """Log probabilities, several choices, a call of the tool that is named, and tools that may be left alone."""
    messages: Any = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = await client.chat.completions.create(
        model=MODEL, messages=messages, max_tokens=3, logprobs=True, top_logprobs=2, n=2
    )
    assert len(answer.choices) == 2
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    assert [len(token.top_logprobs) for token in logprobs.content] == [2] * 3
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    answer = await client.chat.completions.create(
        model=MODEL, messages=messages, max_tokens=60, temperature=0, tools=[WEATHER], tool_choice=named
    )
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments)["city"] in ("Paris", "Bergen")
    free = await client.chat.completions.create(model=MODEL, messages=messages, max_tokens=4, tools=[WEATHER])
    assert free.choices[0].message.content or free.choices[0].message.tool_calls


async def check_together(client: openai.AsyncOpenAI) -> None:
    """32 requests at once are all answered."""
    together = [chat(client, f"{QUESTIONS[number % 3]} ({number})") for number in range(32)]
    assert all(await asyncio.gather(*together))


async def check_embeddings(client: openai.AsyncOpenAI, expected: Sequence[Sequence[float]], model: str) -> None:
    """Texts together and one alone: the numbers that vLLM gives by itself."""
    answer = await client.embeddings.create(model=model, input=list(TEXTS))
    for given, right in zip(answer.data, expected, strict=True):
        assert given.embedding == pytest.approx(right, abs=1e-4)
    alone = await client.embeddings.create(model=model, input=TEXTS[0])
    assert alone.data[0].embedding == pytest.approx(expected[0], abs=1e-4)
    with pytest.raises(openai.NotFoundError):
        await client.completions.create(model=model, prompt="x")
