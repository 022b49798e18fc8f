"""One job from apply to the judgement of its files; the object's own counts are only shown."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from demo.batch.job import KIND, DemoJob, Folders, render
from demo.batch.report import Ledger, balance, json_lines, sample_answers
from demo.batch.watching import follow
from demo.errors import DemoError
from demo.manifests import load_manifest
from demo.stage import EXAMPLES, MODELS, STATE, Stage, shown

if TYPE_CHECKING:
    import argparse

RESOURCE = "batchinferencejob"


def prepare(options: argparse.Namespace) -> DemoJob:
    """The job to apply, with its folders made. Raises DemoError for what the user has to mend."""
    if options.input is not None and not options.input.is_file():
        raise DemoError(f"--input {options.input}: there is no such file")
    manifest = load_manifest(options.job or EXAMPLES / "tickets-job.yaml", KIND)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folders = Folders(
        models=MODELS,
        default_input=EXAMPLES / "tickets.jsonl",
        default_output=STATE / "demo" / stamp,
        input=options.input and options.input.resolve(),
        output=options.output and options.output.resolve(),
    )
    job = render(manifest, folders)
    job.output.mkdir(parents=True, exist_ok=True)
    return job


class BatchDemo:
    """A job on a stage. An earlier job of its name keeps its files; only the object makes room."""

    interrupted = "answered rows are kept in the output folder"

    def __init__(self, stage: Stage, job: DemoJob) -> None:
        self._stage, self._job = stage, job
        self._finished = False

    def run(self) -> int:
        """Runs the job to its end; returns the demo's exit code."""
        stage, job = self._stage, self._job
        stage.up()
        stage.apply(job.manifest, RESOURCE, f": {shown(job.input)} -> {shown(job.output)}")
        started = time.monotonic()
        finished = follow(stage.kubectl, (job.namespace, job.name), stage.console, stage.check)
        self._finished = True
        return self._judge(finished, time.monotonic() - started)

    def leave(self) -> None:
        """No unfinished job stays behind in a cluster that ran before."""
        if not self._finished:
            self._stage.delete(RESOURCE, self._job.name, self._job.namespace)

    def say_how_to_look(self) -> None:
        """What a person may type next, with --keep."""
        self._stage.say_how_to_look("get bij,raycluster,pods", f"describe bij {self._job.name}")

    def _judge(self, finished: dict[str, Any], seconds: float) -> int:
        output = self._job.output
        ended = _succeeded(finished)
        if ended:
            self._stage.say(f"Succeeded={ended['status']} {ended['reason']}: {ended['message']}")
        for bad in list(json_lines(output / "validation.jsonl"))[:5]:
            self._stage.say(f"  line {bad['line']}: {bad['code']}: {bad['message']}")
        if ended.get("status") != "True":
            return 1
        ledger = balance(self._job.input, output)
        if not ledger.balanced:
            self._stage.say(
                f"not done: {len(ledger.missing)} rows without a line, {len(ledger.surplus)} lines without a row, "
                f"in {shown(output)}"
            )
            return 1
        for custom_id, asked, answer in sample_answers(self._job.input, output):
            self._stage.say(f"  {custom_id}: {asked[-70:]} -> {answer[:60]}")
        self._sum_up(finished, ledger, seconds)
        return 0

    def _sum_up(self, finished: dict[str, Any], ledger: Ledger, seconds: float) -> None:
        output = self._job.output
        manifest = json.loads((output / "manifest.json").read_text())
        tokens = finished.get("status", {}).get("tokens", {})
        self._stage.console.print(
            f"[bold]{ledger.completed} rows ok, {ledger.failed} failed[/bold] of {ledger.rows}; "
            f"{tokens.get('prompt', 0)} prompt and {tokens.get('completion', 0)} completion tokens; "
            f"{seconds:.0f} s from apply to finish, {ledger.rows / max(seconds, 1e-9):.1f} rows/s over all"
            + answering_rate(manifest, ledger.rows),
            highlight=False,
            soft_wrap=True,
        )
        self._stage.say(f"results: {shown(output)}/results.jsonl (and errors, validation, manifest)")


def _succeeded(job: dict[str, Any]) -> dict[str, Any]:
    conditions: list[dict[str, Any]] = job.get("status", {}).get("conditions", [])
    return next((condition for condition in conditions if condition["type"] == "Succeeded"), {})


def answering_rate(manifest: dict[str, Any], rows: int) -> str:
    """Rows per second between the first and the last answer, where the manifest tells them."""
    times = [manifest.get(name) for name in ("firstAnswerTime", "lastAnswerTime")]
    first, last = (datetime.fromisoformat(time).timestamp() if time else 0.0 for time in times)
    if last <= first:
        return ""
    return f", {rows / (last - first):.1f} rows/s from first to last answer"
