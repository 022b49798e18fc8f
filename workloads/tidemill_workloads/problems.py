"""What is wrong with a line: the codes of the OpenAI Batch API where it has them, and the words of a message."""

from __future__ import annotations

import msgspec

EMPTY_FILE = "empty_file"
NOT_JSON = "invalid_json_line"
MISSING = "missing_required_parameter"
INVALID = "invalid_request"
WRONG_URL = "invalid_url"
WRONG_MODEL = "model_not_found"
STREAMING = "streaming_unsupported"
TOO_LONG_LINE = "line_too_long"
TOO_LONG = "context_length_exceeded"
DUPLICATE = "duplicate_custom_id"

MAX_MESSAGE = 280
"""Characters of a message: some of vLLM's repeat what the user wrote."""


class Problem(msgspec.Struct, frozen=True):
    """Why a line cannot be run, as it stands in `validation.jsonl`; `line` is physical, from 1."""

    line: int | None
    custom_id: str | None
    code: str
    message: str
    param: str | None = None


class BadLine(Exception):  # noqa: N818 - a verdict on a line, not an error of the program
    """Raised by the rules: `code`, `message` and, where it is one, the parameter of the problem."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(code, message, param)
        self.code = code
        self.message = message
        self.param = param


def shown(value: object, limit: int = 80) -> str:
    """A user's value for a message: quoted and short, whatever it is."""
    text = repr(value) if isinstance(value, str) else type(value).__name__
    return text if len(text) <= limit else text[:limit] + "...'"


def shortened(message: str) -> str:
    """One line of at most `MAX_MESSAGE` characters."""
    line = " ".join(message.split())
    return line if len(line) <= MAX_MESSAGE else line[: MAX_MESSAGE - 3] + "..."
