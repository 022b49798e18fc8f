"""Secrets that a job may be given, through success and failure: none of them is told anywhere but where it was put."""

import json
import threading
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from web_servers import RangeHandler, web_server

pytestmark = [pytest.mark.cluster, pytest.mark.all, pytest.mark.timeout(300)]

CANARY = "canary5ee7c0de"
SIGNED = "signed77aa"
"""Of the presigned URL. Ray hands a job's own variables to its worker on a command line in the head's pod, for the
moment in which it starts; so this one is not looked for there."""

SIGNATURE = f"X-Amz-Credential=AKIA%2F{SIGNED}&X-Amz-Signature={SIGNED}"
SECRETS = {
    "AWS_ACCESS_KEY_ID": f"AKIA{CANARY}",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}store",
    "AWS_SESSION_TOKEN": f"{CANARY}session",
    "HF_TOKEN": f"hf_{CANARY}",
    "MY_PASSWORD": f"{CANARY}mine",
}
DRIVER_METRICS = 8090


@contextmanager
def command_lines():
    """The command lines with the canary that were seen on this machine, pods included, while the block ran."""
    found, over = set(), threading.Event()

    def look():
        while not over.wait(0.5):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = file.read_bytes()
                except OSError:
                    continue  # it has just ended
                if CANARY.encode() in words:
                    found.add(words.replace(b"\0", b" ").decode(errors="replace")[:2000])

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield found
    finally:
        over.set()
        watching.join()


def job(jobs, name, uri, **spec):
    """A job with every secret in its environment, reading from a presigned URL."""
    made = jobs.manifest(name, input={"uri": uri}, output={"uri": f"/data/output/{name}/"}, **spec)
    made["spec"]["template"]["env"] += [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": "keys", "key": variable}}} for variable in SECRETS
    ]
    return made


@pytest.fixture
def server(jobs, faults, tmp_path):
    """A server that pods reach, with an input of answers, refusals and bugs."""
    folder = tmp_path / "www"
    folder.mkdir()
    jobs.write_ids([*(f"row-{n}" for n in range(30)), "bad-1", "bug-1", "die-1"], "rows.jsonl")
    (folder / "rows.jsonl").write_bytes((jobs.folder / "input" / "rows.jsonl").read_bytes())
    (folder / "wrong.jsonl").write_text("{\n")
    keys = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys", "namespace": jobs.namespace}}
    jobs.kubectl("create", "-f", "-", given=keys | {"stringData": SECRETS})
    with web_server(folder, RangeHandler, faults.host_address) as running:
        running.answers["/absent.jsonl"] = 404
        yield running


def test_no_secret_of_a_job_is_told_in_status_events_logs_metrics_files_or_command_lines(jobs, server, operator):
    uris = {name: f"{server.url}{name}.jsonl?{SIGNATURE}" for name in ("rows", "wrong", "absent")}
    with command_lines() as seen:
        for name, uri in uris.items():
            jobs.apply(job(jobs, name, uri))
        figures = jobs.wait_until(lambda: driver_figures(jobs), what="a driver's figures")
        assert jobs.wait_finished("rows", seconds=240)["reason"] == "SomeRowsFailed"
        assert jobs.wait_finished("wrong")["reason"] == "ValidationFailed"
        jobs.wait_until(lambda: jobs.condition("Progressing", "absent").get("reason") == "InputNotFound")
    assert any(SIGNED in asked for asked in server.seen), "the server was asked with the signature"
    told = {
        "figures of the driver": figures,
        "log of the operator": operator.collect(),
        "Events": jobs.kubectl("get", "events", "-n", jobs.namespace, "-o", "json"),
        "statuses": json.dumps([jobs.get(name)["status"] for name in uris]),
        "logs of pods": jobs.kubectl("logs", "-n", jobs.namespace, "-l", "tidemill.dev/role", "--tail=-1"),
    }
    told |= {str(file): file.read_text() for file in jobs.output.rglob("*") if file.is_file()}
    assert [where for where, text in told.items() if CANARY in text or SIGNED in text] == []
    assert sorted(seen) == []


def driver_figures(jobs):
    """What a driver publishes now; None while there is none."""
    pods = jobs.kubectl.json("get", "pods", "-n", jobs.namespace, "-l", "tidemill.dev/role=head")["items"]
    for address in filter(None, (pod.get("status", {}).get("podIP") for pod in pods)):
        try:
            with urllib.request.urlopen(f"http://{address}:{DRIVER_METRICS}/metrics", timeout=2) as response:
                text = response.read().decode()
        except OSError:
            continue
        if "tidemill_batch_phase" in text:
            return text
    time.sleep(0.2)
    return None
