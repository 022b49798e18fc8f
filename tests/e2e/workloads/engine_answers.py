"""What the engine answers to rows: `python engine_answers.py <model folder> <length> <input lines> <answers>`.

VLLM behind our own interface, in a process of its own, without Ray: all rows at once, one JSON array
`[status, body]` for each.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tidemill_api.v1alpha1.common import EngineArgs, ModelSpec
from tidemill_workloads.engine.interface import Answer, EngineSettings
from tidemill_workloads.engine.vllm_engine import VllmEngine
from tidemill_workloads.rows import Row


def main() -> None:
    """Reads the rows, asks the engine, writes what it said."""
    model, length, source, target = sys.argv[1:]
    lines = [json.loads(line) for line in Path(source).read_text().split("\n") if line]
    rows = [Row(number, line["custom_id"], line["url"], line["body"]) for number, line in enumerate(lines, start=1)]
    args = EngineArgs(max_model_len=int(length), dtype="float32", max_num_seqs=32)
    settings = EngineSettings(ModelSpec(name="m", source=model, engine_args=args), gpus=0)
    found = [[answer.status_code, json.loads(answer.body)] for answer in asyncio.run(answers(settings, rows))]
    Path(target).write_text(json.dumps(found))


async def answers(settings: EngineSettings, rows: list[Row]) -> list[Answer]:
    """Starts an engine, asks all rows at once, ends it."""
    engine = VllmEngine(settings)
    await engine.start()
    found = await asyncio.gather(*(engine.answer(row) for row in rows))
    await engine.close()
    return found


if __name__ == "__main__":
    main()
