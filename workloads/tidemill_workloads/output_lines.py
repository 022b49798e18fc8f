"""The lines of `results.jsonl` and `errors.jsonl`, in the envelope of the OpenAI Batch API.

HTTP errors keep `response` and leave `error` null, as the vendor does; a row that was never answered has it the other
way round. The engine's body is taken as the bytes it is, never parsed again. U+2028, U+2029 and U+0085 are escaped:
readers that split on Unicode line ends would break a line.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import msgspec

from tidemill_workloads.parts import ERROR, RESULT, PartLine

if TYPE_CHECKING:
    from tidemill_workloads.engine.interface import Answer
    from tidemill_workloads.rows import Row

_LINE_ENDS = (("\u2028", b"\\u2028"), ("\u2029", b"\\u2029"), ("\u0085", b"\\u0085"))
_ESCAPES = tuple((character.encode(), escaped) for character, escaped in _LINE_ENDS)


def part_line(row: Row, answer: Answer) -> PartLine:
    """The answered row, stamped with the time of now."""
    return PartLine(
        line=row.line,
        kind=RESULT if answer.succeeded else ERROR,
        prompt_tokens=answer.prompt_tokens,
        completion_tokens=answer.completion_tokens,
        answered_ms=time.time_ns() // 1_000_000,
        payload=_envelope(row.custom_id, answer),
    )


def _envelope(custom_id: str, answer: Answer) -> bytes:
    chance = random.getrandbits  # seeded by the system for each process; a UUID would cost ten times as much
    line = (
        b'{"id":"batch_req_%032x","custom_id":%b,"response":{"status_code":%d,"request_id":"req_%032x","body":%b},'
        b'"error":null}'
        % (
            chance(128),
            msgspec.json.encode(custom_id),
            answer.status_code,
            chance(128),
            answer.body.replace(b"\n", b" "),  # JSON may hold newlines only between its tokens
        )
    )
    return _escaped(line)


def error_payload(identifier: str, custom_id: str | None, code: str, message: str) -> bytes:
    """The output line of a row that got no answer: `response` null, `error` with `code` and `message`.

    `identifier` becomes the line's `id` after `batch_req_`; `custom_id` is None where the row's cannot be read.
    """
    error = {"code": code, "message": message}
    line = {"id": f"batch_req_{identifier}", "custom_id": custom_id, "response": None, "error": error}
    return _escaped(msgspec.json.encode(line))


def _escaped(line: bytes) -> bytes:
    if not line.isascii():
        for character, escaped in _ESCAPES:
            if character in line:
                line = line.replace(character, escaped)
    return line


def error_body(message: str, kind: str, code: int, param: str | None = None) -> bytes:
    """The body of an HTTP error, all four keys."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})
