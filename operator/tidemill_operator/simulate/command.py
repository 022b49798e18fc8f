"""What `tidemill simulate` does, once its command line is read: shows progress on stderr, the figures on stdout."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TimeElapsedColumn

from tidemill_operator.simulate import plot, report, suite
from tidemill_operator.simulate.clairvoyant import feasible
from tidemill_operator.simulate.generators import GENERATORS, crowd_of_jobs
from tidemill_operator.simulate.run import play
from tidemill_operator.simulate.trace_reader import TraceError, read_trace, write_trace

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from tidemill_operator.simulate.record import Record
    from tidemill_operator.simulate.suite import Result
    from tidemill_operator.simulate.trace import Trace

EXIT_BOUND_MISSED = 1
EXIT_USAGE = 2
READABLE_WIDTH = 170
"""Of the table where the output is no terminal."""


def run(given: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Runs what was asked for. Ends the program with exit code 2 and one message where a trace is wrong."""
    if given.suite and (given.plot or given.write):
        parser.error("--suite: takes neither --plot nor --write; they are for one trace")
    try:
        if given.suite:
            return _run_suite(given)
        trace = _trace(given)
        if given.write:
            write_trace(trace, given.write)
            print(f"{len(trace.jobs)} jobs written to {given.write}")  # noqa: T201 - a command line's answer
            return 0
        return _run_trace(trace, given)
    except (TraceError, OSError) as error:
        parser.exit(EXIT_USAGE, f"tidemill simulate: {error}\n")


def _trace(given: argparse.Namespace) -> Trace:
    if given.trace is not None:
        return read_trace(given.trace, given.seed)
    return GENERATORS.get(given.generate, crowd_of_jobs)(given.seed)


def _run_suite(given: argparse.Namespace) -> int:
    with _progress("trace suite", 1) as told:
        results = suite.run_suite(given.seeds, given.processes, told=told)
    title = f"Trace suite, {given.seeds} seeds each: {sum(r.jobs for r in results if r.policy == suite.LAW)} jobs"
    _print(results, given.format, title)
    faults = suite.faults(results)
    for fault in faults:
        print(f"bound missed: {fault}", file=sys.stderr)  # noqa: T201 - a command line's answer
    return EXIT_BOUND_MISSED if faults else 0


def _run_trace(trace: Trace, given: argparse.Namespace) -> int:
    windows = feasible(trace)
    records: dict[str, Record] = {}
    for name, make in suite.POLICIES.items():
        with _progress(f"{trace.name}: {name}", len(trace.jobs)) as told:
            records[name] = play(trace, make(), lambda done, told=told: told(done, len(trace.jobs)))  # type: ignore[misc]  # mypy knows no default of a lambda's
    results = [suite.result_of(record, name, windows) for name, record in records.items()]
    _print(results, given.format, f"{trace.name}: {len(trace.jobs)} jobs, {trace.limits.gpu_limit} GPUs")
    for record in records[suite.LAW].jobs.values():
        if not record.met and record.job.name in windows:
            print(f"missed: {record.job.name}", file=sys.stderr)  # noqa: T201 - a command line's answer
    if given.plot == "-":
        print(plot.draw(records, Console().width))  # noqa: T201 - a command line's answer
    elif given.plot:
        Path(given.plot).write_text(plot.without_colours(plot.draw(records)), encoding="utf-8")
    return 0


def _print(results: list[Result], form: str, title: str) -> None:
    if form == "table":
        console = Console(width=None if sys.stdout.isatty() else READABLE_WIDTH)
        console.print(report.table(results, title))
    else:
        print(report.markdown(results) if form == "markdown" else report.as_json(results))  # noqa: T201 - the answer


@contextlib.contextmanager
def _progress(title: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, where that is a terminal; it goes when the work is done."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), *Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done, of: bar.update(task, completed=done, total=of)
