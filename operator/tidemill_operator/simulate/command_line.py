"""The command line `tidemill`: `tidemill simulate`, which teaches itself by --help."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_BOUND_MISSED = 1
EXIT_USAGE = 2

DESCRIPTION = """\
Replays a trace of jobs through the operator's own planning code, in virtual time, and prints what became of it beside
a fixed size, depth-proportional scaling (as HPA and KEDA do it) and the clairvoyant minimum. Needs no cluster.
"""

EPILOG = """\
examples:
  tidemill simulate --suite                          the whole trace suite; exits 1 where a bound is missed
  tidemill simulate --generate month-end --plot      one generated day, drawn in the terminal
  tidemill simulate --generate spot-loss --write day.jsonl   ... written down, as an example of the format
  tidemill simulate day.jsonl                        your own trace

your own trace, as CSV (or JSONL with the same names; times in seconds since its start, or such as 90s, 30m, 8h):
  name,arrival,rows,window,rows_per_second,start_up,max_workers,model
  invoices,0,50000,6h,12,90s,8,small-8b
  reviews,30m,8000,2h,4,150s,4,medium-32b
A line may have a `kind`: job (the default), endpoint, load, capacity, loss, price, limits. What each may say:
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where the suite misses a bound; 2 with one message where something that was given is wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        from tidemill_operator.simulate.command import run  # the parts that need the extra
    except ModuleNotFoundError as error:
        parser.exit(
            EXIT_USAGE,
            f"tidemill: {error.name} is missing; install the extra from a checkout: pip install '.[simulate]'\n",
        )
    return run(given, parser)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tidemill", description="Tools beside the operator.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    simulate = commands.add_parser(
        "simulate",
        help="replay a trace of jobs in virtual time and compare scaling laws",
        description=DESCRIPTION,
        epilog=EPILOG + _fields(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = simulate.add_mutually_exclusive_group(required=True)
    what.add_argument("trace", nargs="?", type=Path, metavar="TRACE", help="a .csv or .jsonl file")
    what.add_argument("--generate", metavar="NAME", choices=_generators(), help=f"one of {', '.join(_generators())}")
    what.add_argument("--suite", action="store_true", help="every generator of the suite with every seed")
    simulate.add_argument("--seed", type=int, default=0, help="of what chance decides in one trace (default: 0)")
    simulate.add_argument("--seeds", type=_positive, default=20, help="how many the suite runs (default: 20)")
    simulate.add_argument("--processes", type=_positive, default=os.cpu_count() or 1, help="at a time, for the suite")
    simulate.add_argument("--format", choices=["table", "markdown", "json"], default="table", help="of the figures")
    simulate.add_argument("--plot", nargs="?", const="-", metavar="FILE", help="draw one trace; as text into FILE")
    simulate.add_argument("--write", type=Path, metavar="FILE", help="write the trace as JSONL, and run nothing")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def _generators() -> list[str]:
    from tidemill_operator.simulate.generators import GENERATORS

    return [*GENERATORS, "crowd-of-jobs"]


def _fields() -> str:
    """Every kind of line with its fields, what they are by default and what they mean."""
    from tidemill_operator.simulate.trace_reader import KINDS

    lines = []
    for kind, model in KINDS.items():
        lines.append(f"  {kind}: {str(model.__doc__).splitlines()[0]}")
        for name, field in model.model_fields.items():
            if name == "kind":
                continue
            default = "required" if field.is_required() else f"default {field.default}"
            lines.append(f"    {name:22}{default:18}{field.description or ''}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
