"""A serving engine for tests that are about the Serve application: it stands for vLLM's server, one token each beat.

Named by TIDEMILL_ENGINE=paced_server:create; the tests put this folder on PYTHONPATH of the Ray cluster they start.
As many requests as the endpoint's `max_sequences` make tokens at once, the others queue, first come first served.
TIDEMILL_TEST_TOKEN_SECONDS is the beat (0.02), TIDEMILL_TEST_LOAD_SECONDS the time to load (0). What happens to each
request is noted, one line each, in a file of the process in TIDEMILL_TEST_FOLDER. A request whose prompt is `kill`
ends the process, one whose prompt is `hang` makes one token and none of any request after it, one whose prompt is
`refuse` is answered with 400; the prompt counts a token a word.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill_api.conditions import Reason
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.serving.frames import Usage

if TYPE_CHECKING:
    from tidemill_workloads.serving.engine import ServerSettings, Watcher

GENERATING = ("/v1/chat/completions", "/v1/completions")

PROCESS = f"{os.environ.get('RAY_CLOUD_INSTANCE_ID', '')}/{os.getpid()}"
"""Which engine answers, `pod/pid`: every answer says it, so that a test knows what was lost with whom."""


@dataclass(frozen=True)
class Asked:
    """A request, as far as this server reads it."""

    request_id: str
    model: str
    chat: bool
    prompt: str
    tokens: int
    stream: bool


class PacedServer:
    """See the module."""

    def __init__(self, settings: ServerSettings) -> None:
        self.dead = False
        self._settings = settings
        self._beat = float(os.environ.get("TIDEMILL_TEST_TOKEN_SECONDS", "0.02"))
        self._slots = asyncio.Semaphore(settings.config.max_sequences)
        self._steps = 0
        self._going = asyncio.Event()
        self._going.set()

    async def start(self, watcher: Watcher) -> None:
        """Loads for as long as the environment says; a model source that says so refuses."""
        await asyncio.sleep(float(os.environ.get("TIDEMILL_TEST_LOAD_SECONDS", "0")))
        if "refuses" in self._settings.config.model.source:
            raise JobRefused(Reason.INVALID_SPEC, "spec.model.engineArgs: made to be refused")
        self._watcher = watcher

    @property
    def app(self) -> Any:
        """The server."""
        return self._serve

    def progress(self) -> int:
        """Tokens so far."""
        return self._steps

    async def close(self) -> None:
        """Nothing to end."""
        self._note("closed")

    async def _serve(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] not in GENERATING:
            await self._whole(send, 404, {"error": {"message": "Not Found", "type": "NotFoundError", "code": 404}})
            return
        asked = self._read(scope, await receive())
        if asked.prompt == "refuse":
            error = {"message": "made to be refused", "type": "BadRequestError", "param": None, "code": 400}
            await self._whole(send, 400, {"error": error})
            return
        if asked.prompt == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        work = asyncio.create_task(self._work(asked, send))
        leaving = asyncio.create_task(receive())  # as vLLM, it sees its client go by a message
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                self._note(f"aborted {asked.prompt}")
            else:
                work.result()
        except asyncio.CancelledError:
            self._note(f"aborted {asked.prompt}")
            raise
        finally:
            work.cancel()
            leaving.cancel()

    async def _work(self, asked: Asked, send: Any) -> None:
        if asked.stream:
            headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with self._slots:
            self._note(f"began {asked.prompt}")
            for number in range(asked.tokens):
                await asyncio.sleep(self._beat)
                await self._going.wait()
                self._steps += 1
                if number == 0:
                    self._watcher.first_token(asked.request_id)
                if asked.stream:
                    await self._event(send, self._chunk(asked, number))
                if asked.prompt == "hang":
                    self._going.clear()
        self._watcher.used(asked.request_id, Usage(len(asked.prompt.split()), asked.tokens))
        self._note(f"answered {asked.prompt}")
        if asked.stream:
            await send({"type": "http.response.body", "body": b"data: [DONE]\n\n", "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            await self._whole(send, 200, self._answer(asked))

    def _read(self, scope: Any, message: Any) -> Asked:
        body = json.loads(message["body"])
        chat = scope["path"] == GENERATING[0]
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"").decode()
        model = str(body.get("model") or self._settings.config.model.name)
        return Asked(request_id, model, chat, prompt, int(body.get("max_tokens") or 16), bool(body.get("stream")))

    def _answer(self, asked: Asked) -> dict[str, Any]:
        text = " ".join(f"{number}" for number in range(asked.tokens))
        content = {"message": {"role": "assistant", "content": text}} if asked.chat else {"text": text}
        words = len(asked.prompt.split())
        usage = {"prompt_tokens": words, "completion_tokens": asked.tokens, "total_tokens": words + asked.tokens}
        return {
            "id": asked.request_id,
            "object": "chat.completion" if asked.chat else "text_completion",
            "created": 1,
            "model": asked.model,
            "system_fingerprint": PROCESS,
            "choices": [{"index": 0, "finish_reason": "length", **content}],
            "usage": usage,
        }

    def _chunk(self, asked: Asked, number: int) -> dict[str, Any]:
        finish = "length" if number == asked.tokens - 1 else None
        content = {"delta": {"content": f"{number} "}} if asked.chat else {"text": f"{number} "}
        return {
            "id": asked.request_id,
            "object": "chat.completion.chunk" if asked.chat else "text_completion",
            "created": 1,
            "model": asked.model,
            "system_fingerprint": PROCESS,
            "choices": [{"index": 0, "finish_reason": finish, **content}],
        }

    async def _event(self, send: Any, value: dict[str, Any]) -> None:
        body = f"data: {json.dumps(value)}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})

    async def _whole(self, send: Any, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    def _note(self, line: str) -> None:
        folder = os.environ.get("TIDEMILL_TEST_FOLDER")
        if folder:
            with Path(folder, f"server-{os.getpid()}").open("a") as file:
                file.write(line + "\n")


def create(settings: ServerSettings) -> PacedServer:
    """The factory that TIDEMILL_ENGINE names."""
    return PacedServer(settings)
