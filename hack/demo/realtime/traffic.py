"""How the endpoint is asked: by the unmodified OpenAI client; each answer has its times and its end.

Never asks twice: a request that failed is told, not hidden by a retry.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from openai import AsyncOpenAI, BadRequestError, NotFoundError, OpenAIError

if TYPE_CHECKING:
    from collections.abc import Callable

    from openai import AsyncStream
    from openai.types.chat import ChatCompletionChunk

CONNECT_SECONDS = 30.0


@dataclass(frozen=True)
class Answer:
    """One request, in seconds of a monotonic clock; `fault` is empty where the whole answer came."""

    sent: float
    first: float
    ended: float
    tokens: int
    text: str = ""
    fault: str = ""

    @property
    def first_token_seconds(self) -> float:
        """From sending to the first token; of an embedding to its end."""
        return self.first - self.sent


@dataclass(frozen=True)
class Service:
    """Where an endpoint is asked, as which model, and for how long an answer may take."""

    url: str
    model: str
    key: str
    timeout_seconds: float
    tokens: int = 48

    def client(self, key: str | None = None) -> AsyncOpenAI:
        """A client as a user makes one, but that it tries nothing twice."""
        return AsyncOpenAI(
            base_url=self.url,
            api_key=self.key if key is None else key,
            timeout=self.timeout_seconds + CONNECT_SECONDS,
            max_retries=0,
        )


class Asker:
    """Asks one service with one client: chats where the model chats, embeddings where it embeds."""

    def __init__(self, service: Service, client: AsyncOpenAI) -> None:
        self._service, self._client = service, client
        self.embeds = False

    async def ask(self, question: str, show: Callable[[str], None] = lambda _: None) -> Answer:
        """The answer to a question; each piece of a streamed one is shown as it comes. A fault is in the answer."""
        sent = time.monotonic()
        try:
            if self.embeds:
                return await self._embed(question, sent)
            return await self._chat(question, sent, show)
        except OpenAIError as error:
            return Answer(sent, sent, time.monotonic(), 0, fault=f"{type(error).__name__}: {error}")

    @staticmethod
    def is_no_chat(answer: Answer) -> bool:
        """Whether this fault is that of a model that does not chat: an embedding model has no such path."""
        return answer.fault.startswith((NotFoundError.__name__, BadRequestError.__name__))

    async def _chat(self, question: str, sent: float, show: Callable[[str], None]) -> Answer:
        stream: AsyncStream[ChatCompletionChunk] = await self._client.chat.completions.create(
            model=self._service.model,
            messages=[{"role": "user", "content": question}],
            max_tokens=self._service.tokens,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        first, text, tokens, reason = 0.0, "", 0, None
        async for chunk in stream:
            tokens = chunk.usage.completion_tokens if chunk.usage else tokens
            for choice in chunk.choices:
                reason = choice.finish_reason or reason
                if choice.delta.content:
                    first = first or time.monotonic()
                    text += choice.delta.content
                    show(choice.delta.content)
        ended = time.monotonic()
        fault = "" if reason else "the stream ended without a finish_reason"
        return Answer(sent, first or ended, ended, tokens, text, fault)

    async def _embed(self, question: str, sent: float) -> Answer:
        made = await self._client.embeddings.create(model=self._service.model, input=question, encoding_format="float")
        ended = time.monotonic()
        return Answer(sent, ended, ended, made.usage.prompt_tokens, f"{len(made.data[0].embedding)} dimensions")


@dataclass
class Ledger:
    """All answers so far, from whomever."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def faults(self) -> list[Answer]:
        """The requests that were not answered."""
        return [answer for answer in self.answers if answer.fault]
