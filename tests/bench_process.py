"""Runs a benchmark as a person does, with numbers too small to mean anything: only that it works and what it prints."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

BENCHES = Path(__file__).parents[1] / "hack" / "bench"

Table = list[dict[str, str]]


def bench(script: str, *options: object, seconds: float = 170) -> tuple[Table, str]:
    """The rows of the first table that a benchmark prints, by column, and all that it printed.

    A missed goal is no failure here: on a busy machine, and with so few rows, it says nothing. A benchmark that broke
    has printed no table.
    """
    command = [sys.executable, str(BENCHES / script), *map(str, options)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=environment)
    assert done.returncode in (0, 1), done.stderr[-6000:]  # 1: a goal was missed
    from_the_first = itertools.dropwhile(lambda line: not line.startswith("|"), done.stdout.splitlines())
    lines = list(itertools.takewhile(lambda line: line.startswith("|"), from_the_first))
    assert lines, done.stderr[-6000:]
    header, _, *rows = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines]
    return [dict(zip(header, row, strict=True)) for row in rows], done.stdout
