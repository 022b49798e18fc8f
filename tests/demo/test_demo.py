"""`./hack/demo.sh` as a user runs it: the real model, files in and out, an exit code that can be trusted."""

import json
import os
import subprocess
import threading
import time

import pytest
import yaml
from cluster_fixtures import CHECKOUT
from demo_process import demo, devcluster_runs

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="the dev cluster makes network namespaces, which needs root"),
]


def rows(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def chat(custom_id, text):
    body = {"model": "smollm2", "messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def test_a_second_set_up_takes_a_moment():
    command = [str(CHECKOUT / "hack" / "setup.sh")]
    subprocess.run(command, capture_output=True, check=True)
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - started < 3


def test_a_users_rows_are_answered_by_the_real_model(tmp_path):
    capital = "What is the capital of France?"
    file = rows(tmp_path / "mine.jsonl", *(chat(f"r{number}", capital) for number in range(5)))
    done = demo("--input", file, "--output", tmp_path / "out")
    assert done.returncode == 0, done.output
    results = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [result["custom_id"] for result in results] == [f"r{number}" for number in range(5)]
    answers = {result["response"]["body"]["choices"][0]["message"]["content"] for result in results}
    assert len(answers) == 1
    assert "Paris" in answers.pop()
    files = {"results.jsonl", "errors.jsonl", "validation.jsonl", "manifest.json"}
    assert files <= {path.name for path in (tmp_path / "out").iterdir()}
    assert "5 rows ok, 0 failed of 5" in done.output
    assert done.seconds_to("==> kubectl apply") < 30, "set-up, dev cluster and operator are there within seconds"
    assert "Traceback" not in done.output


def test_bad_lines_end_the_demo_with_exit_code_one_and_a_list(tmp_path):
    file = rows(tmp_path / "mine.jsonl", chat("a", "x"), chat("a", "y"), {"custom_id": "b"})
    done = demo("--input", file, "--output", tmp_path / "out")
    assert done.returncode == 1, done.output
    bad = [json.loads(line) for line in (tmp_path / "out" / "validation.jsonl").read_text().splitlines()]
    assert [(line["line"], line["code"]) for line in bad] == [
        (2, "duplicate_custom_id"),
        (3, "missing_required_parameter"),
    ]
    assert "line 2: duplicate_custom_id" in done.output
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_an_input_that_is_not_there_is_said_before_anything_starts(tmp_path):
    done = demo("--input", tmp_path / "nothing.jsonl")
    assert done.returncode == 1
    assert "there is no such file" in done.output
    assert "dev cluster" not in done.output


@pytest.mark.all
def test_a_head_that_cannot_start_is_shown_with_its_cause_and_a_stopped_demo_leaves_nothing_running(tmp_path):
    job = yaml.safe_load((CHECKOUT / "hack" / "examples" / "tickets-job.yaml").read_text())
    where_ray_writes = {"name": "input", "mountPath": "/tmp/ray", "readOnly": True}
    job["spec"]["template"]["volumeMounts"].append(where_ray_writes)
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    command = [
        str(CHECKOUT / "hack" / "demo.sh"),
        "--job",
        str(tmp_path / "job.yaml"),
        "--output",
        str(tmp_path / "out"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        alarm = threading.Timer(200, running.terminate)
        alarm.start()
        shown = next((line for line in running.stdout if "CrashLoopBackOff" in line and "exit code" in line), "")
        alarm.cancel()
        running.terminate()
        rest = running.stdout.read()
        assert running.wait(timeout=60) == 130, rest
    assert shown.startswith("ClusterStarting")
    assert "Read-only file system" in shown + rest
    assert not devcluster_runs()


@pytest.mark.all
def test_the_embeddings_example_runs(tmp_path):
    examples = CHECKOUT / "hack" / "examples"
    done = demo("--job", examples / "embeddings-job.yaml", "--output", tmp_path / "out")
    assert done.returncode == 0, done.output
    first = json.loads((tmp_path / "out" / "results.jsonl").read_text().splitlines()[0])
    assert len(first["response"]["body"]["data"][0]["embedding"]) == 384


@pytest.mark.all
@pytest.mark.timeout(660)
def test_the_shipped_tickets_are_all_answered(tmp_path):
    done = demo("--output", tmp_path / "out", seconds=600)
    assert done.returncode == 0, done.output
    tickets = (CHECKOUT / "hack" / "examples" / "tickets.jsonl").read_text().splitlines()
    assert len(tickets) >= 200
    assert f"{len(tickets)} rows ok, 0 failed of {len(tickets)}" in done.output
