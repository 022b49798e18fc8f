"""The demo's command line."""

from __future__ import annotations

import argparse
from pathlib import Path

EPILOG = """
examples:
  ./hack/demo.sh                                    a batch job: classify the shipped support tickets
  ./hack/demo.sh --input rows.jsonl --output out    your own rows; the model is served as smollm2
  ./hack/demo.sh --job job.yaml --keep              your own manifest; look around with kubectl afterwards
  ./hack/demo.sh --realtime                         an endpoint: a streamed answer, a burst, sleep and waking
  ./hack/demo.sh --realtime --endpoint mine.yaml    your own manifest of an endpoint

The batch demo's exit code is 0 only if every input row has exactly one result or error line; the realtime demo's only
if every request was answered, a wrong key was refused, and the endpoint grew, shrank, slept and woke as its spec says.
"""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line as a namespace; ends the program with one message where options do not go together."""
    parser = argparse.ArgumentParser(
        prog="./hack/demo.sh",
        description="Runs a BatchInferenceJob, or with --realtime a RealtimeEndpoint, with a real model on a dev"
        " cluster on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keep", action="store_true", help="leave dev cluster, operator and object for a look around")
    batch = parser.add_argument_group("batch job")
    batch.add_argument("--input", type=Path, metavar="FILE", help="JSONL file of requests (default: support tickets)")
    batch.add_argument("--job", type=Path, metavar="FILE", help="BatchInferenceJob manifest to apply")
    batch.add_argument("--output", type=Path, metavar="DIR", help="folder for the results (default: a new one)")
    realtime = parser.add_argument_group("realtime endpoint")
    realtime.add_argument("--realtime", action="store_true", help="show an endpoint instead of a job: 6 minutes")
    realtime.add_argument("--endpoint", type=Path, metavar="FILE", help="RealtimeEndpoint manifest to apply")
    options = parser.parse_args(arguments)
    batch_only = [f"--{name}" for name in ("input", "job", "output") if getattr(options, name) is not None]
    if options.realtime and batch_only:
        parser.error(f"{', '.join(batch_only)}: for a batch job, not with --realtime")
    if options.endpoint is not None and not options.realtime:
        parser.error("--endpoint: only with --realtime")
    return options
