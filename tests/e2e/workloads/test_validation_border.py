"""Validation and the real engine agree on every row at the border: what one refuses the other refuses.

The engine is vLLM behind our own interface, in a process of its own without Ray: nothing is compared but verdicts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from bad_lines import KINDS, LENGTH, body, completion, encoded, said
from ray_cluster import environment
from validation_builders import model_folder, real_model

from tidemill_workloads.line_checks import check_line
from tidemill_workloads.problems import TOO_LONG, BadLine
from tidemill_workloads.urls import CHAT, COMPLETIONS, EMBEDDINGS

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

ENGINE = Path(__file__).with_name("engine_answers.py")
EMBEDDING_LENGTH = 256
OVERHEAD = 31
"""Tokens that smollm2's template puts about one short user message, its own system message included."""


def embedding(value: Any, **more: Any) -> Callable[[str], bytes]:
    return lambda identifier: encoded(identifier, url=EMBEDDINGS, body={"model": "m", "input": value} | more)


def border_of_generation() -> list[Callable[[str], bytes]]:
    """Prompts about the length of the model, caps about it, both together, as texts, tokens and chats."""
    made = [completion([7] * count, max_tokens=1) for count in (LENGTH - 2, LENGTH - 1, LENGTH, LENGTH + 1)]
    made += [completion("a " * count, max_tokens=1) for count in range(LENGTH // 2 - 2, LENGTH // 2 + 3)]
    made += [completion("a" + "<|im_end|>" * count, max_tokens=1) for count in range(LENGTH - 3, LENGTH + 2)]
    made += [body(max_tokens=cap, stop=["\n"]) for cap in (LENGTH - 40, LENGTH, LENGTH + 1)]
    made += [completion([7] * (LENGTH - 5), max_tokens=cap) for cap in (4, 5, 6, LENGTH, LENGTH + 1)]
    words = range(LENGTH - OVERHEAD - 6, LENGTH - OVERHEAD + 6)
    made += [body(messages=said(" word" * count), max_tokens=1) for count in words]
    made += [body(messages=said(" word" * 700), truncate_prompt_tokens=keep, max_tokens=1) for keep in (-1, 20, 600)]
    made += [body(max_tokens=None, max_completion_tokens=cap, stop=["\n"]) for cap in (1, LENGTH + 1)]
    return made


def border_of_embedding() -> list[Callable[[str], bytes]]:
    made = [embedding("word " * count) for count in range(EMBEDDING_LENGTH - 5, EMBEDDING_LENGTH + 2)]
    made += [embedding([2000] * count) for count in (EMBEDDING_LENGTH - 1, EMBEDDING_LENGTH, EMBEDDING_LENGTH + 1)]
    made += [embedding(value) for value in ("", " ", "[SEP] [CLS]", ["one", "two"], [40_000], ["ok", "word " * 400])]
    made += [embedding("hi", truncate_prompt_tokens=10), embedding("hi", dimensions=7), embedding("hi", normalize=True)]
    return made


def is_for_the_engine(raw: bytes, verdict: BadLine | None) -> bool:
    """Whether a line is a request at all, and not refused for what only a batch asks: a model's name, no stream."""
    if verdict is not None and verdict.param in ("body.model", "body.stream"):
        return False
    try:
        line = json.loads(raw)
    except ValueError:
        return False
    match line:
        case {"custom_id": str(), "method": "POST", "url": str(), "body": dict()}:
            return True
    return False


def engine_says(model: str, length: int, lines: list[bytes], root: Path) -> list[tuple[int, Any]]:
    source, target = root / "rows.jsonl", root / "answers.json"
    source.write_bytes(b"".join(line + b"\n" for line in lines))
    command = [sys.executable, str(ENGINE), str(model_folder(model)), str(length), str(source), str(target)]
    done = subprocess.run(command, env=environment("", root), capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return [(status, answer) for status, answer in json.loads(target.read_text())]


def disagreements(
    model: str, length: int, makers: list[Callable[[str], bytes]], root: Path
) -> tuple[list[str], set[str]]:
    """The rows of which validation and engine think differently, and the codes that validation gave."""
    lines = [make(f"row-{number}") for number, make in enumerate(makers)]
    with real_model(model, max_model_len=length) as rules:
        verdicts = [check_line(raw, rules)[1] for raw in lines]
    asked = [pair for pair in zip(lines, verdicts, strict=True) if is_for_the_engine(*pair)]
    given = engine_says(model, length, [raw for raw, _ in asked], root)
    differing = [
        f"{raw[:200]!r}: validation says {verdict and verdict.message}, the engine {status} {str(answer)[:200]}"
        for (raw, verdict), (status, answer) in zip(asked, given, strict=True)
        if (200 <= status < 300) != (verdict is None)
    ]
    return differing, {verdict.code for _, verdict in asked if verdict is not None}


@pytest.mark.all
def test_validation_refuses_the_generations_that_the_engine_refuses_and_no_other(tmp_path: Path) -> None:
    makers = border_of_generation() + [make for _, make in KINDS]
    differing, codes = disagreements("smollm2", LENGTH, makers, tmp_path)
    assert differing == []
    assert codes == {TOO_LONG, "invalid_request", "invalid_url"}


@pytest.mark.all
def test_validation_refuses_the_embeddings_that_the_engine_refuses_and_no_other(tmp_path: Path) -> None:
    makers = border_of_embedding()
    for url in (CHAT, COMPLETIONS):
        makers.append(lambda identifier, url=url: encoded(identifier, url=url, body={"model": "m", "prompt": "hi"}))
    differing, codes = disagreements("minilm", EMBEDDING_LENGTH, makers, tmp_path)
    assert differing == []
    assert codes == {TOO_LONG, "invalid_request", "invalid_url"}
