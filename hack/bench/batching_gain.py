"""What a row costs in a batch, beside the same row sent alone: engine seconds a row, on the same engine arguments.

The batch is a job's driver on a Ray cluster, from first to last answer. The other side sends rows to one engine of
the same kind, each after the answer to the one before. The goal is a ratio of at most 0.10. Prints a Markdown table
and exits 1 above it.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from command_line import Steps, parser, table
from common import clean_environment, run_job, settings, write_rows

from tidemill_workloads.engine.interface import create_engine
from tidemill_workloads.rows import Row

GOAL = 0.10
WARM_UP_ROWS = 3

EXAMPLES = """
examples:
  .tidemill/venv/bin/python hack/bench/batching_gain.py --rows 256 --alone 10 --tokens 32
      the README's figure, about 3 minutes

how to read the table:
  engine seconds a row   in the batch: seconds from the first answer to the last, by rows; alone: seconds of a request
  cost                   of a row in the batch, where a row sent alone costs 1
"""


def main() -> int:
    """Exit code 0 where the goal is met."""
    line = parser(__doc__, EXAMPLES)
    line.add_argument("--rows", type=int, default=500, help="rows of the batch (default 500)")
    line.add_argument("--alone", type=int, default=30, help="of these, rows sent one at a time (default 30)")
    line.add_argument("--tokens", type=int, default=32, help="tokens of each answer (default 32)")
    options = line.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as scratch, Steps() as steps:
        source = Path(scratch) / "rows.jsonl"
        write_rows(source, options.rows, options.tokens)
        steps.begin(f"{options.rows} rows in a batch")
        batch = run_job(source, Path(scratch), options.rows)
        requests = [json.loads(row) for row in source.read_text().splitlines()[: options.alone + WARM_UP_ROWS]]
        steps.begin(f"{options.alone} rows one at a time", total=len(requests))
        alone = asyncio.run(one_at_a_time(requests, steps))
    in_batch, by_itself = 1 / batch.rate, statistics.fmean(alone)
    ratio = in_batch / by_itself
    lines = [
        ("in a batch", str(options.rows), f"{in_batch:.4f}", f"{batch.rate:.2f}", f"{ratio:.3f}"),
        ("one at a time", str(options.alone), f"{by_itself:.4f}", f"{1 / by_itself:.2f}", "1"),
    ]
    print(table(("rows", "measured", "engine seconds a row", "rows/s", "cost"), lines))
    print(f"\na row in the batch costs {ratio:.3f} of a row alone (goal at most {GOAL:.2f})")
    return 0 if ratio <= GOAL else 1


async def one_at_a_time(requests: list[dict[str, Any]], steps: Steps) -> list[float]:
    """Seconds of each request, sent alone, but for the first few, which warm the engine up."""
    os.environ.update(clean_environment())
    engine = create_engine(settings())
    await engine.start()
    seconds = []
    for number, request in enumerate(requests):
        row = Row(number, request["custom_id"], request["url"], request["body"])
        started = time.perf_counter()
        answer = await engine.answer(row)
        seconds.append(time.perf_counter() - started)
        steps.at(number + 1)
        if not answer.succeeded:
            raise SystemExit(f"a row failed: {answer.body.decode()}")
    await engine.close()
    return seconds[WARM_UP_ROWS:]


if __name__ == "__main__":
    sys.exit(main())
