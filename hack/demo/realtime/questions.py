"""What the demo's users ask: the shipped support tickets, so that prompts are as long as real ones are."""

from __future__ import annotations

from functools import cache

from demo.batch.report import json_lines
from demo.stage import EXAMPLES


@cache
def questions() -> tuple[str, ...]:
    """The customers' words, as a request to write a reply."""
    rows = json_lines(EXAMPLES / "tickets.jsonl")
    return tuple(
        f"Write a short, friendly reply to this customer: {row['body']['messages'][-1]['content']}" for row in rows
    )
