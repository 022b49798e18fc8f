"""Runs one demo and cleans up behind it, however it ends."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.markup import escape

from demo.batch.run import BatchDemo, prepare
from demo.command_line import parse_arguments
from demo.errors import DemoError
from demo.stage import Stage

if TYPE_CHECKING:
    import argparse

EXIT_INTERRUPTED = 130


class Demo(Protocol):
    """What can be shown on a stage."""

    interrupted: str
    """What is left of it when it is interrupted."""

    def run(self) -> int:
        """Shows it; returns the exit code."""

    def leave(self) -> None:
        """Takes away what would stay behind in a cluster that ran before."""

    def say_how_to_look(self) -> None:
        """Says what a person may type next, with --keep."""


def choose(options: argparse.Namespace, stage: Stage) -> Demo:
    """The demo that the command line asks for. Raises DemoError for what the user has to mend."""
    if options.realtime:
        from demo.realtime.run import RealtimeDemo, prepare_endpoint  # the client takes a second to import

        return RealtimeDemo(stage, prepare_endpoint(options.endpoint))
    return BatchDemo(stage, prepare(options))


def main() -> int:
    """Runs the demo; returns its exit code."""
    options = parse_arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stopped demo cleans up like an interrupted one
    console = Console()
    stage = Stage(console)
    demo: Demo | None = None
    try:
        demo = choose(options, stage)
        code = demo.run()
        if options.keep:
            demo.say_how_to_look()
    except DemoError as error:
        console.print(f"[bold red]demo:[/bold red] {escape(str(error))}", highlight=False, soft_wrap=True)
        code = 1
    except KeyboardInterrupt:
        console.print(
            f"demo: interrupted{f'; {demo.interrupted}' if demo and demo.interrupted else ''}", highlight=False
        )
        code = EXIT_INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the second Ctrl-C of an impatient person: it takes seconds
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if demo is not None and not options.keep:
            demo.leave()
        if not options.keep:
            stage.down()
    return code


if __name__ == "__main__":
    sys.exit(main())
