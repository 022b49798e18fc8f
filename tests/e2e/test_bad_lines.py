"""A thousand bad lines of every kind among twenty thousand, as a user submits them."""

import random
from collections import Counter
from itertools import cycle, islice

import pytest
from bad_lines import KINDS, LENGTH, encoded
from workload_builders import MODEL

pytestmark = pytest.mark.cluster

LINES = 20_000
BAD = 1000
SOURCE = {"name": MODEL, "source": "/models/smollm2", "engineArgs": {"maxModelLen": LENGTH}}


def mixed_input():
    """All lines in a fixed random order, and what is due: {line number: code}."""
    chance = random.Random(7)
    bad_at = chance.sample(range(2, LINES + 1), BAD)  # line 1 is the one whose custom_id comes again
    kinds = dict(zip(bad_at, islice(cycle(KINDS), BAD), strict=True))
    due = {number: kinds[number][0] for number in sorted(kinds)}
    lines = [
        kinds[number][1](f"bad-{number}") if number in kinds else encoded(f"good-{number}")
        for number in range(1, LINES + 1)
    ]
    return lines, due


def write(jobs, lines):
    (jobs.folder / "input").mkdir()
    (jobs.folder / "input" / "rows.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))


def test_a_thousand_bad_lines_are_each_reported_once_and_no_worker_starts(jobs):
    lines, due = mixed_input()
    write(jobs, lines)
    jobs.apply(jobs.manifest(model=SOURCE))
    succeeded = jobs.wait_finished(seconds=150)
    assert (succeeded["status"], succeeded["reason"]) == ("False", "ValidationFailed"), succeeded
    reported = jobs.lines("validation.jsonl")
    wrong = [(one["line"], one["code"]) for one in reported if due.get(one["line"]) != one["code"]]
    assert wrong == []
    assert Counter(one["line"] for one in reported) == Counter(due.keys())
    assert all(one["message"] for one in reported)
    condition = jobs.condition("Validated")
    assert condition["status"] == "False"
    one_sentence_says_what_to_do(condition["message"], min(due))
    (event,) = [event for event in jobs.events() if event["reason"] == "ValidationFailed"]
    assert event["type"] == "Warning"
    one_sentence_says_what_to_do(event["message"], min(due))
    assert not [event for event in all_events(jobs) if event["reason"] == "CreatedWorkerPod"]
    assert not (jobs.output / "results.jsonl").exists()


def one_sentence_says_what_to_do(message, first):
    """How many, where to read of them, where the first one is, and the fix."""
    assert "1000" in message.replace(",", "")
    assert "validation.jsonl" in message
    assert f"line {first}:" in message
    assert "mend the input and create the job again" in message
    assert "\n" not in message


def all_events(jobs):
    return jobs.kubectl.json("get", "events", "-n", jobs.namespace)["items"]


@pytest.mark.all
def test_bad_lines_that_may_be_skipped_become_error_lines_at_their_place(jobs):
    lines, due = mixed_input()
    lines = lines[:2000]
    due = {number: code for number, code in due.items() if number <= len(lines)}
    write(jobs, lines)
    jobs.apply(jobs.manifest(model=SOURCE, input={"uri": "/data/input/rows.jsonl", "onInvalid": "Skip"}))
    succeeded = jobs.wait_finished(seconds=150)
    assert (succeeded["status"], succeeded["reason"]) == ("True", "SomeRowsFailed"), succeeded
    errors = jobs.lines("errors.jsonl")
    codes = [error["response"]["body"]["error"]["code"] for error in errors]
    assert codes == list(due.values())
    good = [f"good-{number}" for number in range(1, len(lines) + 1) if number not in due]
    assert [result["custom_id"] for result in jobs.lines("results.jsonl")] == good
    rows = jobs.get()["status"]["rows"]
    assert rows == {"total": len(lines), "completed": len(good), "failed": len(due), "remaining": 0}
    assert len(jobs.lines("validation.jsonl")) == len(due)
    assert str(len(due)) in jobs.condition("Validated")["message"]
