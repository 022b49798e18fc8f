"""What Ray and the driver answer, read: logs cut anywhere, figures of other attempts, words for people."""

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.builders import T0

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome
from tidemill_operator.core.snapshot import AttemptState
from tidemill_operator.driver_metrics import read_metrics
from tidemill_operator.errors import RayUnavailableError
from tidemill_operator.ray_api import TAIL_CHARACTERS, HeadAddress, RayApi, decode_log, log_tail

OUTCOME = Outcome(reason=Reason.ALL_ROWS_ANSWERED, message="3 rows answered.")


def test_a_whole_log_is_read():
    assert decode_log(json.dumps({"logs": "a\nb\n"}).encode(), whole=True) == "a\nb\n"


def test_a_job_without_a_log_has_an_empty_one():
    assert decode_log(b'{"logs": null}', whole=True) == ""


@given(st.text(max_size=300), st.integers(0, 400))
def test_a_log_cut_anywhere_still_gives_its_last_line(noise, cut):
    log = f"{noise}\n{OUTCOME.to_log_line()}\n"
    body = json.dumps({"logs": "x" * 500 + noise + "\n" + log}).encode()
    keep = len(json.dumps(OUTCOME.to_log_line())) + 40 + cut
    assert Outcome.from_log(decode_log(body[-keep:], whole=len(body) <= keep)) == OUTCOME


def test_an_answer_that_is_no_log_is_a_passing_fault():
    with pytest.raises(RayUnavailableError, match="not the JSON"):
        decode_log(b"<html>", whole=True)


def test_the_tail_for_people_is_short_and_leaves_the_outcome_out():
    text = "\n".join(f"line {n}" for n in range(50)) + f"\n\n{OUTCOME.to_log_line()}\n"
    assert log_tail(text).splitlines() == [f"line {n}" for n in range(40, 50)]
    assert len(log_tail("y" * 10_000)) == TAIL_CHARACTERS


def test_the_tail_for_people_holds_no_password_and_no_signature():
    text = "GET https://h/rows.jsonl?X-Amz-Signature=canary\nredis://:canary@redis:6379\n/rows?X-Amz-Signature=canary\n"
    assert log_tail(text) == "GET https://h/rows.jsonl?***\nredis://***@redis:6379\n/rows?X-Amz-Signature=***"


def test_a_head_never_shows_its_token():
    assert "secret-token" not in repr(HeadAddress("10.0.0.1", "secret-token"))


JOB = "t/j"


def figures(attempt, phase="processing", **extra):
    lines = [f'tidemill_batch_phase{{job="t/j",attempt="{attempt}",phase="{p}"}} {int(p == phase)}' for p in PHASES]
    lines += [f'tidemill_batch_{name}{{job="t/j",attempt="{attempt}"}} {value}' for name, value in extra.items()]
    return "\n".join(lines) + "\n"


PHASES = ("validating", "processing", "finalising")


def test_only_the_asked_attempts_figures_are_read():
    text = figures(1, rows_total=9, rows_completed=9) + figures(2, rows_total=9, rows_completed=4)
    read, problem = read_metrics(text, JOB, 2)
    assert (read.rows_completed, read.rows_total, problem) == (4, 9, "")


def test_figures_of_older_attempts_alone_are_missing_figures():
    read, problem = read_metrics(figures(1, rows_total=9), JOB, 2)
    assert read is None
    assert problem == "attempt 2 has published none yet."


def test_rows_in_flight_are_read_by_node_and_idle_nodes_left_out():
    text = figures(1, rows_total=9) + "".join(
        f'tidemill_batch_rows_in_flight{{job="t/j",attempt="1",node="{node}"}} {rows}\n'
        for node, rows in (("10.0.0.1", 5), ("10.0.0.2", 0))
    )
    assert dict(read_metrics(text, JOB, 1)[0].in_flight) == {"10.0.0.1": 5}


def test_a_total_that_is_not_known_is_none_and_not_zero():
    read, _ = read_metrics(figures(1, phase="validating", rows_validated=3), JOB, 1)
    assert (read.rows_total, read.rows_per_worker, read.rows_validated) == (None, None, 3)


def test_text_that_is_not_prometheus_is_said():
    read, problem = read_metrics("<html>", JOB, 1)
    assert read is None
    assert "Prometheus" in problem


def test_figures_of_another_jobs_driver_at_the_same_address_are_missing_figures():
    assert read_metrics(figures(1, rows_total=9), "t/other", 1) == (None, "attempt 1 has published none yet.")


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf"])
@pytest.mark.parametrize("name", ["rows_total", "rows_completed", "rows_in_flight"])
def test_a_figure_that_is_no_count_is_said_and_never_read(name, value):
    read, problem = read_metrics(figures(1, **{name: value}), JOB, 1)
    assert read is None
    assert problem.startswith("one of them is not a number of rows or tokens")


@pytest.mark.parametrize(
    ("value", "rate"), [("2.5", 2.5), ("0", None), ("NaN", None), ("-1", None), ("+Inf", None), (None, None)]
)
def test_a_rate_that_is_none_is_no_fault_of_the_other_figures(value, rate):
    given = {} if value is None else {"rows_per_second": value}
    read, _ = read_metrics(figures(1, rows_total=9, **given), JOB, 1)
    assert (read.rows_total, read.rows_per_second) == (9, rate)


async def test_bytes_that_are_no_text_are_a_problem_and_no_crash():
    async def garbage(_):
        return web.Response(body=b"\xff\xfe not text", content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", garbage)
    async with TestServer(app) as server, RayApi(5) as ray:
        head = HeadAddress("127.0.0.1", "t", dashboard_port=server.port, metrics_port=server.port)
        read, problem = await ray.metrics(head, JOB, 1)
        assert read is None
        assert "published none" in problem or "Prometheus" in problem
        assert (await ray.attempt(head, "s")).state is AttemptState.UNKNOWN


@pytest.mark.parametrize(
    ("start_time", "submitted"), [(1_767_268_800_000, T0), (None, None), ("soon", None), (1 << 60, None), (-1, None)]
)
async def test_a_running_attempt_says_when_it_was_submitted(start_time, submitted):
    async def running(_):
        return web.json_response({"status": "RUNNING", "start_time": start_time})

    app = web.Application()
    app.router.add_get("/api/jobs/{id}", running)
    async with TestServer(app, host="127.0.0.1") as server, RayApi(2) as ray:
        attempt = await ray.attempt(HeadAddress("127.0.0.1", "t", dashboard_port=server.port), "s")
    assert (attempt.state, attempt.submitted) == (AttemptState.ACTIVE, submitted)
