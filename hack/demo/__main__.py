"""The demo's command line: dev cluster up, operator running, a job applied with kubectl, results on disk."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from demo.job import DemoError, DemoJob, Folders, load_manifest, render
from demo.operator_process import OperatorProcess
from demo.report import balance, json_lines, sample_answers
from demo.watching import follow

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / ".tidemill"
KUBECONFIG = STATE / "kubeconfig"
EXAMPLES = ROOT / "hack" / "examples"

EXIT_INTERRUPTED = 130

EPILOG = """
examples:
  ./hack/demo.sh                                    classify the shipped support tickets
  ./hack/demo.sh --input rows.jsonl --output out    your own rows; the model is served as smollm2
  ./hack/demo.sh --job job.yaml --keep              your own manifest; look around with kubectl afterwards

The exit code is 0 only if every input row has exactly one result or error line.
"""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = argparse.ArgumentParser(
        prog="./hack/demo.sh",
        description="Runs a BatchInferenceJob with a real model on a dev cluster on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--input", type=Path, metavar="FILE", help="JSONL file of requests (default: support tickets)")
    parser.add_argument("--job", type=Path, metavar="FILE", help="BatchInferenceJob manifest to apply")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for the results (default: a new one)")
    parser.add_argument("--keep", action="store_true", help="leave dev cluster, operator and job for a look around")
    return parser.parse_args(arguments)


def prepare(options: argparse.Namespace) -> DemoJob:
    """The job to apply, with its folders made. Raises DemoError for what the user has to mend."""
    if options.input is not None and not options.input.is_file():
        raise DemoError(f"--input {options.input}: there is no such file")
    manifest = load_manifest(options.job or EXAMPLES / "tickets-job.yaml")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folders = Folders(
        models=STATE / "models",
        default_input=EXAMPLES / "tickets.jsonl",
        default_output=STATE / "demo" / stamp,
        input=options.input and options.input.resolve(),
        output=options.output and options.output.resolve(),
    )
    job = render(manifest, folders)
    job.output.mkdir(parents=True, exist_ok=True)
    return job


class Demo:
    """One run of the demo: everything it starts, it stops, unless told to keep it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._found_running = self._finished = False
        self._operator = OperatorProcess(STATE, KUBECONFIG)
        self._kubectl = [str(STATE / "bin" / "kubectl"), "--kubeconfig", str(KUBECONFIG)]

    def run(self, job: DemoJob) -> int:
        """Runs one job to its end; returns the demo's exit code."""
        self._step("dev cluster")
        self._found_running = _devcluster("status").returncode == 0
        if _devcluster("up").returncode:
            raise DemoError("the dev cluster does not start; see ./hack/devcluster.sh up")
        self._step(f"operator (log: {_shown(self._operator.log)})")
        self._operator.start()
        self._apply(job)
        started = time.monotonic()
        finished = follow(self._kubectl, (job.namespace, job.name), self._console, self._operator.check)
        self._finished = True
        self._show_end(finished)
        return self._judge(job, finished, time.monotonic() - started)

    def down(self, job: DemoJob | None) -> None:
        """Stops what `run` started: a cluster that ran before keeps running, and no unfinished job stays behind."""
        if job is not None and not self._finished and KUBECONFIG.exists():
            words = ("delete", "batchinferencejob", job.name, "-n", job.namespace, "--ignore-not-found", "--wait=false")
            subprocess.run([*self._kubectl, *words], capture_output=True, check=False)
        self._operator.stop()
        if not self._found_running:
            _devcluster("down")

    def _apply(self, job: DemoJob) -> None:
        file = STATE / "demo" / f"{job.namespace}-{job.name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(job.manifest, sort_keys=False))
        # An earlier job of this name keeps its files; only the object makes room.
        self._run("delete", "batchinferencejob", job.name, "-n", job.namespace, "--ignore-not-found", quiet=True)
        self._step(f"kubectl apply -f {_shown(file)}: {_shown(job.input)} -> {_shown(job.output)}")
        self._run("apply", "-f", str(file))

    def _run(self, *arguments: str, quiet: bool = False) -> None:
        result = subprocess.run([*self._kubectl, *arguments], capture_output=True, text=True, check=False)
        if result.returncode:
            raise DemoError(f"kubectl {arguments[0]}: {result.stderr.strip()}")
        if not quiet:
            self._console.print(result.stdout.strip(), highlight=False)

    def _show_end(self, job: dict[str, Any]) -> None:
        for condition in job.get("status", {}).get("conditions", []):
            if condition["type"] == "Succeeded":
                text = f"Succeeded={condition['status']} {condition['reason']}: {condition['message']}"
                self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _judge(self, job: DemoJob, finished: dict[str, Any], seconds: float) -> int:
        """Sums the run up from the files on disk; the object's own counts are only shown."""
        for bad in list(json_lines(job.output / "validation.jsonl"))[:5]:
            line = f"  line {bad['line']}: {bad['code']}: {bad['message']}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        if not _succeeded(finished):
            return 1
        ledger = balance(job.input, job.output)
        if not ledger.balanced:
            self._console.print(
                f"not done: {len(ledger.missing)} rows without a line, {len(ledger.surplus)} lines without a row, "
                f"in {_shown(job.output)}",
                highlight=False,
                soft_wrap=True,
            )
            return 1
        for custom_id, asked, answer in sample_answers(job.input, job.output):
            line = f"  {custom_id}: {asked[-70:]} -> {answer[:60]}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        manifest = json.loads((job.output / "manifest.json").read_text())
        tokens = finished.get("status", {}).get("tokens", {})
        self._console.print(
            f"[bold]{ledger.completed} rows ok, {ledger.failed} failed[/bold] of {ledger.rows}; "
            f"{tokens.get('prompt', 0)} prompt and {tokens.get('completion', 0)} completion tokens; "
            f"{seconds:.0f} s from apply to finish, {ledger.rows / max(seconds, 1e-9):.1f} rows/s over all"
            + _answering_rate(manifest, ledger.rows),
            highlight=False,
            soft_wrap=True,
        )
        self._console.print(
            f"results: {_shown(job.output)}/results.jsonl (and errors, validation, manifest)", soft_wrap=True
        )
        return 0

    def _step(self, text: str) -> None:
        self._console.print(f"[bold]==>[/bold] {text}", highlight=False, soft_wrap=True)

    def say_how_to_look(self, job: DemoJob) -> None:
        """What a person may type next, with --keep."""
        kubectl = shlex.join([_shown(Path(self._kubectl[0])), *self._kubectl[1:2], _shown(KUBECONFIG)])
        self._console.print(
            f"kept running; look around:\n  {kubectl} get bij,raycluster,pods\n"
            f"  {kubectl} describe bij {job.name}\nand stop it all: ./hack/devcluster.sh down",
            highlight=False,
            soft_wrap=True,
        )


def _devcluster(command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(ROOT / "hack" / "devcluster.sh"), command], check=False, stdout=subprocess.DEVNULL)


def _succeeded(job: dict[str, Any]) -> bool:
    conditions = job.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Succeeded" and condition["status"] == "True" for condition in conditions)


def _answering_rate(manifest: dict[str, Any], rows: int) -> str:
    """Rows per second between the first and the last answer, where the manifest tells them."""
    times = [manifest.get(name) for name in ("firstAnswerTime", "lastAnswerTime")]
    first, last = (datetime.fromisoformat(time).timestamp() if time else 0.0 for time in times)
    if last <= first:
        return ""
    return f", {rows / (last - first):.1f} rows/s from first to last answer"


def _shown(path: Path) -> str:
    """The path as a person would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def main() -> int:
    """Runs the demo; returns its exit code."""
    options = parse_arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a stopped demo cleans up like an interrupted one
    console = Console()
    demo = Demo(console)
    job = None
    try:
        job = prepare(options)
        code = demo.run(job)
        if options.keep:
            demo.say_how_to_look(job)
    except DemoError as error:
        console.print(f"[bold red]demo:[/bold red] {error}", highlight=False, soft_wrap=True)
        code = 1
    except KeyboardInterrupt:
        console.print("demo: interrupted; answered rows are kept in the output folder", highlight=False)
        code = EXIT_INTERRUPTED
    finally:
        if not options.keep:
            demo.down(job)
    return code


if __name__ == "__main__":
    sys.exit(main())
