"""The same rows through a job and through vLLM's own batch runner, with equal engine arguments, in turns.

Both sides answer the same rows on the same machine with the same number of tokens each; a round starts both anew, in
alternating order. The figure is rows a second from the first answer to the last; the goal for the median ratio job /
run_batch is 1.00, the bound 0.95. Prints a Markdown table and exits 1 below the bound.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parent))

from command_line import Steps, parser, table
from common import Run, run_batch, run_job, write_rows

if TYPE_CHECKING:
    import argparse

BOUND = 0.95
GOAL = 1.00

EXAMPLES = """
examples:
  .tidemill/venv/bin/python hack/bench/batch_throughput.py
      the README's figures: five rounds, about 20 minutes
  .tidemill/venv/bin/python hack/bench/batch_throughput.py --rounds 1 --rows 100
      a first look in 3 minutes; one round says little

how to read the table:
  rows/s     from the first answer to the last: neither side's start-up counts
  ratio      the job's rate by run_batch's of the same round; the median of all rounds is the figure
  peak MiB   resident memory of the side's processes, Ray's own included on the job's side
"""


def main() -> int:
    """Exit code 0 where the median ratio meets the bound."""
    line = parser(__doc__, EXAMPLES)
    line.add_argument("--rounds", type=int, default=5, help="alternating rounds (default 5)")
    line.add_argument("--rows", type=int, default=500, help="rows of each run (default 500)")
    line.add_argument("--tokens", type=int, default=16, help="tokens of each answer (default 16)")
    options = line.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as scratch, Steps() as steps:
        rounds = [one_round(Path(scratch), number, options, steps) for number in range(options.rounds)]
    ratios = [job.rate / batch.rate for job, batch in rounds]
    print(report(rounds, ratios))
    median = statistics.median(ratios)
    print(
        f"\nmedian ratio {median:.3f} (bound {BOUND:.2f}, goal {GOAL:.2f}), from {min(ratios):.3f} to {max(ratios):.3f}"
    )
    return 0 if median >= BOUND else 1


def one_round(scratch: Path, number: int, options: argparse.Namespace, steps: Steps) -> tuple[Run, Run]:
    """Job and run_batch, the one that goes first changing from round to round."""
    folder = scratch / f"round-{number}"
    source = folder / "input" / "rows.jsonl"
    source.parent.mkdir(parents=True)
    write_rows(source, options.rows, options.tokens)
    sides = {"job": run_job, "run_batch": run_batch}
    found: dict[str, Run] = {}
    for name in sorted(sides, reverse=bool(number % 2)):
        steps.begin(f"round {number + 1} of {options.rounds}, {name}")
        (folder / name).mkdir()
        found[name] = sides[name](source, folder / name, options.rows)
        steps.end(f"round {number + 1} {name}: {found[name].rate:.2f} rows/s")
    return found["job"], found["run_batch"]


def report(rounds: list[tuple[Run, Run]], ratios: list[float]) -> str:
    """The table: a line for each side of each round."""
    header = ("round", "side", "rows/s", "ratio", "wall s", "peak MiB", "of it engine", "answer tokens")
    lines = []
    for number, ((job, batch), ratio) in enumerate(zip(rounds, ratios, strict=True), start=1):
        for name, run, shown in (("job", job, f"{ratio:.3f}"), ("run_batch", batch, "")):
            figures = (f"{run.wall_seconds:.0f}", f"{run.peak_mib:.0f}", f"{run.engine_mib:.0f}")
            lines.append((str(number), name, f"{run.rate:.2f}", shown, *figures, str(run.completion_tokens)))
    return table(header, lines)


if __name__ == "__main__":
    sys.exit(main())
