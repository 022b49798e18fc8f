"""Judges and sums up a finished job from its files alone: every input row exactly one line, or the demo has failed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file, blank lines skipped; nothing where there is no such file."""
    if path.is_file():
        with path.open("rb") as file:
            yield from (json.loads(line) for line in file if line.strip())


@dataclass(frozen=True)
class Ledger:
    """Input rows against output lines, by custom_id."""

    rows: int
    completed: int
    failed: int
    missing: tuple[str, ...]
    surplus: tuple[str, ...]

    @property
    def balanced(self) -> bool:
        """Whether every input row has exactly one result or error line, and no line is without a row."""
        return not self.missing and not self.surplus


def balance(input_file: Path, output_folder: Path) -> Ledger:
    """Counts the lines of `results.jsonl` and `errors.jsonl` against the input, by custom_id."""
    wanted = Counter(str(row.get("custom_id")) for row in json_lines(input_file))
    completed = Counter(str(line["custom_id"]) for line in json_lines(output_folder / "results.jsonl"))
    failed = Counter(str(line["custom_id"]) for line in json_lines(output_folder / "errors.jsonl"))
    found = completed + failed
    return Ledger(
        rows=wanted.total(),
        completed=completed.total(),
        failed=failed.total(),
        missing=tuple((wanted - found).keys()),
        surplus=tuple((found - wanted).keys()),
    )


def sample_answers(input_file: Path, output_folder: Path, count: int = 3) -> list[tuple[str, str, str]]:
    """A few chat rows as (custom_id, last user message, answer), for a person to see that a model has spoken."""
    answers = {}
    for line in json_lines(output_folder / "results.jsonl"):
        choices = line["response"]["body"].get("choices") or [{}]
        text = (choices[0].get("message") or {}).get("content") or choices[0].get("text")
        if text:
            answers[line["custom_id"]] = " ".join(text.split())
        if len(answers) == count:
            break
    samples = []
    for row in json_lines(input_file):
        if row.get("custom_id") in answers:
            body = row["body"]
            asked = body["messages"][-1]["content"] if "messages" in body else body.get("prompt", "")
            samples.append((row["custom_id"], " ".join(str(asked).split()), answers[row["custom_id"]]))
        if len(samples) == len(answers):
            break
    return samples
