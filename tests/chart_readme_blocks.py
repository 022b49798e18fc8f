"""What the chart's README shows: its blocks of YAML and its commands."""

from __future__ import annotations

import re
from typing import Any

import yaml
from rendered_chart import CHART

README = CHART / "README.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VALUES = "# values.yaml\n"


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [text for found, text in BLOCK.findall(README.read_text(encoding="utf-8")) if found == language]


def values() -> list[dict[str, Any]]:
    """The files of values."""
    return [yaml.safe_load(text) for text in blocks("yaml") if text.startswith(VALUES)]


def objects() -> list[dict[str, Any]]:
    """The objects that a reader is to apply."""
    return [document for text in blocks("yaml") if not text.startswith(VALUES) for document in yaml.safe_load_all(text)]
