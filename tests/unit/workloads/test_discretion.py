"""No log and no message holds a secret, whoever wrote it; and none of them can be taken for the outcome."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from web_servers import PlainHandler, RangeHandler, web_server
from workload_builders import job, request, write_lines

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import CONFIG_VARIABLE, OUTCOME_PREFIX, JobConfig, Outcome
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_workloads.discretion import DiscreetFormatter, without_secrets
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.outcomes import refused

if TYPE_CHECKING:
    from pathlib import Path

    from web_servers import WebServer

CANARY = "canary-5ee7c0de"
SIGNATURE = f"X-Amz-Credential=AKIA%2F{CANARY}&X-Amz-Signature={CANARY}"


def test_values_of_secret_variables_are_blotted_out() -> None:
    environment = {
        "AWS_SECRET_ACCESS_KEY": "abcdefgh",
        "DB_PASSWORD": "abcdefghij",
        "API_TOKEN": "no",
        "HOME": "/home/x",
    }
    text = without_secrets("a abcdefghij b abcdefgh c no /home/x", environment)
    assert text == "a *** b *** c no /home/x"


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://bucket.s3.amazonaws.com/rows.jsonl?{SIGNATURE} failed",
        f"HTTPConnectionPool(host='h'): Max retries exceeded with url: /rows.jsonl?{SIGNATURE} (Caused by x)",
        f"'https://h/a?{CANARY}'",
        f"http://user:{CANARY}@10.0.0.1:8080/x",
        f"redis://:{CANARY}@redis:6379/0",
        f"https://h/a?sv=2024&sig={CANARY}",
        f"/a?access_token={CANARY}&x=y",
        f"s3://AKIA:{CANARY}@bucket/x",
    ],
)
def test_passwords_and_signatures_in_urls_are_blotted_out(text: str) -> None:
    assert CANARY in text
    assert CANARY not in without_secrets(text, {})


@pytest.mark.parametrize(
    "text",
    [
        "see s3://bucket/out/what?@is.jsonl",
        "https://host/rows.jsonl?... may not be read",
        "mail a@b, 5 of 7 rows are answered: see /data/out/errors.jsonl",
        "line 3: key=value",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text, {}) == text


@given(st.text(max_size=60))
def test_no_text_of_somebody_else_begins_a_line_of_the_log(text: str) -> None:
    message = f"an engine said: {text}\n{OUTCOME_PREFIX}{{}}\r{OUTCOME_PREFIX}{{}}\u2028{OUTCOME_PREFIX}{{}}"
    record = logging.LogRecord("x", logging.INFO, "x.py", 1, message.replace("%", "%%"), (), None)
    lines = DiscreetFormatter().format(record).splitlines()
    assert lines[0].startswith("20")
    assert all(line.startswith("  ") for line in lines[1:])
    assert Outcome.from_log("\n".join(lines)) is None


def test_a_refusal_with_a_secret_in_it_is_told_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    told = refused(JobRefused(Reason.STORAGE_UNREACHABLE, f"the store said {CANARY}"), job(tmp_path))
    assert told.message == "the store said ***"


SECRETS = {
    "AWS_ACCESS_KEY_ID": f"AKIA{CANARY}",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-s3",
    "AWS_SESSION_TOKEN": f"{CANARY}-session",
    "HF_TOKEN": f"hf_{CANARY}",
    "RAY_AUTH_TOKEN": f"{CANARY}-ray",
    "MY_PASSWORD": f"{CANARY}-mine",
}
"""Whatever a template may take from Secrets."""


def told_by(config: JobConfig, root: Path, **environment: str) -> str:
    """All that a run of the entry point leaves behind: log, outcome and every file beside the output."""
    done = subprocess.run(
        [sys.executable, "-m", "tidemill_workloads"],
        env=os.environ | SECRETS | environment | {CONFIG_VARIABLE: config.model_dump_json()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    outcome = Outcome.from_log(done.stdout)
    assert outcome is not None, done.stderr
    files = [path for path in (root / "output").rglob("*") if path.is_file()]
    return "\n".join([done.stdout, done.stderr, *(f"{path}: {path.read_text()}" for path in files)])


ANSWERS: dict[str, dict[str, int | str]] = {
    "gone": {"/rows.jsonl": 404},
    "denied": {"/rows.jsonl": 403},
    "redirected to a metadata service": {"/rows.jsonl": f"http://169.254.169.254/latest?{SIGNATURE}"},
    "redirected to another scheme": {"/rows.jsonl": f"gopher://user:{CANARY}@host/?{SIGNATURE}"},
    "redirected for ever": {"/rows.jsonl": f"/rows.jsonl?{SIGNATURE}"},
}
"""Faults that are told at once; those that pass are waited for, with the same words."""


@pytest.mark.parametrize("fault", ANSWERS)
def test_an_input_that_cannot_be_read_is_told_without_its_signature(tmp_path: Path, fault: str) -> None:
    with web_server(tmp_path, RangeHandler) as server:
        server.answers.update(ANSWERS[fault])
        told = told_by(signed(server, tmp_path), tmp_path)
    assert CANARY not in told
    assert "rows.jsonl" in told, "the file is named all the same"


@pytest.mark.parametrize("handler", [PlainHandler, RangeHandler])
@pytest.mark.parametrize("line", [b"{", request("a")])
def test_a_signed_input_is_read_and_its_signature_kept_nowhere(
    tmp_path: Path, handler: type[PlainHandler], line: bytes | dict[str, Any]
) -> None:
    """A bad line ends the job; a good one comes as far as the model, which is not there."""
    (tmp_path / "www").mkdir()
    write_lines(tmp_path / "www" / "rows.jsonl", [line])
    with web_server(tmp_path / "www", handler) as server:
        told = told_by(signed(server, tmp_path), tmp_path)
        assert any(CANARY in asked for asked in server.seen), "the server was asked with the signature"
    assert CANARY not in told
    assert (tmp_path / "output" / "job.json").exists()


def test_credentials_of_a_store_that_refuses_them_are_told_nowhere(tmp_path: Path) -> None:
    with web_server(tmp_path, RangeHandler) as server:
        server.answers["/bucket/rows.jsonl"] = 403
        config = job(tmp_path, input_uri="s3://bucket/rows.jsonl")
        told = told_by(config, tmp_path, AWS_ENDPOINT_URL=server.url.rstrip("/"), AWS_REGION="us-east-1")
        assert server.seen
    assert CANARY not in told
    assert "s3://bucket/rows.jsonl may not be read" in told


def signed(server: WebServer, root: Path) -> JobConfig:
    """A job whose input is a presigned URL of this server, and whose model is not there."""
    model = ModelSpec(name="m", source=str(root / "absent"))
    uri = f"{server.url}rows.jsonl?{SIGNATURE}"
    return job(root, input_uri=uri, allow_loopback_input=True, model=model)
