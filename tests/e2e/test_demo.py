"""`./hack/demo.sh` as a user runs it: the real model, files in and out, an exit code that can be trusted."""

import json
import os
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="the dev cluster makes network namespaces, which needs root"),
]


def demo(*arguments, seconds=280):
    command = [str(CHECKOUT / "hack" / "demo.sh"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def rows(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def chat(custom_id, text):
    body = {"model": "smollm2", "messages": [{"role": "user", "content": text}], "max_tokens": 8, "temperature": 0}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def test_a_users_rows_are_answered_by_the_real_model(tmp_path):
    capital = "What is the capital of France?"
    file = rows(tmp_path / "mine.jsonl", *(chat(f"r{number}", capital) for number in range(5)))
    done = demo("--input", file, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    results = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [result["custom_id"] for result in results] == [f"r{number}" for number in range(5)]
    answers = {result["response"]["body"]["choices"][0]["message"]["content"] for result in results}
    assert len(answers) == 1
    assert "Paris" in answers.pop()
    files = {"results.jsonl", "errors.jsonl", "validation.jsonl", "manifest.json"}
    assert files <= {path.name for path in (tmp_path / "out").iterdir()}
    assert "5 rows ok, 0 failed of 5" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_bad_lines_end_the_demo_with_exit_code_one_and_a_list(tmp_path):
    file = rows(tmp_path / "mine.jsonl", chat("a", "x"), chat("a", "y"), {"custom_id": "b"})
    done = demo("--input", file, "--output", tmp_path / "out")
    assert done.returncode == 1, done.stdout + done.stderr
    bad = [json.loads(line) for line in (tmp_path / "out" / "validation.jsonl").read_text().splitlines()]
    assert [(line["line"], line["code"]) for line in bad] == [
        (2, "duplicate_custom_id"),
        (3, "missing_required_parameter"),
    ]
    assert "line 2: duplicate_custom_id" in done.stdout
    assert not (tmp_path / "out" / "results.jsonl").exists()


def test_an_input_that_is_not_there_is_said_before_anything_starts(tmp_path):
    done = demo("--input", tmp_path / "nothing.jsonl")
    assert done.returncode == 1
    assert "there is no such file" in done.stdout
    assert "dev cluster" not in done.stdout


@pytest.mark.all
def test_a_stopped_demo_leaves_nothing_running(tmp_path):
    file = rows(tmp_path / "mine.jsonl", *(chat(f"r{number}", "hello") for number in range(5)))
    command = [str(CHECKOUT / "hack" / "demo.sh"), "--input", str(file), "--output", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        for line in running.stdout:
            if line.startswith("ClusterStarting"):
                break
        running.terminate()
        assert running.wait(timeout=60) == 130
    status = subprocess.run([str(CHECKOUT / "hack" / "devcluster.sh"), "status"], capture_output=True, check=False)
    assert status.returncode == 1


@pytest.mark.all
def test_the_embeddings_example_runs(tmp_path):
    examples = CHECKOUT / "hack" / "examples"
    done = demo("--job", examples / "embeddings-job.yaml", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    first = json.loads((tmp_path / "out" / "results.jsonl").read_text().splitlines()[0])
    assert len(first["response"]["body"]["data"][0]["embedding"]) == 384
