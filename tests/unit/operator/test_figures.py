"""What the driver's live figures do to a job: those that are absent hold what is known, and any end a silence."""

from datetime import timedelta

import pytest
from unit.operator.builders import (
    PROGRESSING,
    RUNNING,
    SILENT,
    VALIDATED,
    active,
    condition,
    crew,
    look,
    make_cluster,
    make_job,
    make_spec,
    message,
    processing,
    running_status,
)

from tidemill_api.job_contract import (
    METRIC_PHASE,
    METRIC_ROWS_COMPLETED,
    METRIC_ROWS_FAILED,
    METRIC_ROWS_PER_WORKER,
    METRIC_ROWS_TOTAL,
    METRIC_ROWS_VALIDATED,
)
from tidemill_api.v1alpha1.batch_inference_job_status import RowsStatus, TokensStatus
from tidemill_operator.driver_metrics import read_metrics

KNOWN = (RowsStatus(total=1000, completed=990, remaining=10), TokensStatus(prompt=70, completion=30))
COUNTED = {METRIC_ROWS_TOTAL: 1000, METRIC_ROWS_VALIDATED: 1000, METRIC_ROWS_PER_WORKER: 10}


def scraped(phase, **figures):
    """An attempt that runs and publishes these gauges and no other."""
    labels = 'job="team/tickets",attempt="1"'
    lines = [f'{METRIC_PHASE}{{{labels},phase="{phase}"}} 1']
    lines += [f"{name}{{{labels}}} {value}" for name, value in figures.items()]
    metrics, problem = read_metrics("\n".join(lines) + "\n", "team/tickets", 1)
    assert problem == ""
    return {"attempt": RUNNING, "metrics": metrics}


def nearly_done():
    figures = processing(rows_total=1000, rows_completed=990, prompt_tokens=70, completion_tokens=30)
    return look(status=running_status(), **crew(1), **figures).status


def test_a_driver_that_has_not_counted_the_answers_yet_takes_none_back_and_starts_no_worker():
    seen = look(status=nearly_done(), **crew(1), **scraped("processing", **COUNTED))
    assert (seen.status.rows, seen.status.tokens, seen.actions) == (*KNOWN, ())
    many = COUNTED | {METRIC_ROWS_TOTAL: 100_000, METRIC_ROWS_COMPLETED: 0}
    counted = look(status=seen.status, **crew(1), **scraped("processing", **many))
    assert counted.status.rows.completed == 0
    assert counted.actions[0].replicas == 4


def test_a_first_driver_that_has_not_counted_the_answers_yet_has_validated():
    seen = look(status=running_status(), cluster=make_cluster(), **scraped("processing", **COUNTED))
    assert (condition(seen, VALIDATED), seen.actions) == (("True", "AllLinesValid"), ())


def test_how_many_lines_were_valid_is_said_before_the_answers_are_counted():
    figures = scraped("processing", **{METRIC_ROWS_VALIDATED: 1000})
    seen = look(status=running_status(), cluster=make_cluster(), **figures)
    assert message(seen, VALIDATED) == "Every line of the input is valid: 1000 requests."


def test_a_job_that_may_skip_bad_lines_says_whether_there_are_any_only_when_it_is_known():
    spec = make_spec(input={"uri": "/data/in.jsonl", "onInvalid": "Skip"})
    job = make_job(spec=spec, status=running_status())
    early = look(job=job, cluster=make_cluster(), **scraped("processing", **COUNTED))
    assert condition(early, VALIDATED) == ("Unknown", "AwaitingValidation")
    figures = COUNTED | {METRIC_ROWS_COMPLETED: 0, METRIC_ROWS_FAILED: 3}
    counted = look(job=job, cluster=make_cluster(), **scraped("processing", **figures))
    assert condition(counted, VALIDATED) == ("True", "BadLinesSkipped")


def test_an_attempt_that_writes_the_last_lines_takes_no_rows_and_no_tokens_back():
    status = nearly_done()
    status = status.model_copy(update={"driver": status.driver.model_copy(update={"ending": "Cancelled"})})
    job = make_job(spec=make_spec(cancel=True), status=status)
    seen = look(job=job, cluster=make_cluster(), **scraped("finalising"))
    assert (seen.status.rows, seen.status.tokens) == KNOWN


@pytest.mark.parametrize("troubled", [{"failures": 5, "rows_at_failure": 4}, {"waits": 2}])
def test_any_figures_end_a_silence_so_that_the_next_one_counts_from_its_own_start(troubled):
    status = running_status(**troubled)
    figures = active(phase="validating") if "waits" in troubled else processing(rows_completed=4)
    silent = look(status=status, cluster=make_cluster(), attempt=SILENT)
    assert condition(silent, PROGRESSING) == ("Unknown", "RayUnreachable")
    back = look(after=timedelta(minutes=2), status=silent.status, cluster=make_cluster(), **figures)
    assert condition(back, PROGRESSING)[0] == "True"
    again = look(after=timedelta(minutes=40), status=back.status, cluster=make_cluster(), attempt=SILENT)
    assert (again.actions, condition(again, PROGRESSING)) == ((), ("Unknown", "RayUnreachable"))
