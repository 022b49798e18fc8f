"""The demo's judgement: every input row exactly one line."""

import json
from pathlib import Path

import pytest

from demo.batch.report import balance, sample_answers


def write(path: Path, *custom_ids: str) -> None:
    path.write_text("".join(json.dumps({"custom_id": custom_id}) + "\n" for custom_id in custom_ids))


@pytest.mark.parametrize(
    ("results", "errors", "missing", "surplus"),
    [
        (("a", "b"), ("c",), (), ()),
        (("a",), ("c",), ("b",), ()),
        (("a", "b", "b"), ("c",), (), ("b",)),
        (("a", "b"), ("b", "c"), (), ("b",)),
        (("a", "b", "z"), ("c",), (), ("z",)),
        ((), (), ("a", "b", "c"), ()),
    ],
)
def test_rows_without_a_line_and_lines_without_a_row_are_found(
    tmp_path: Path,
    results: tuple[str, ...],
    errors: tuple[str, ...],
    missing: tuple[str, ...],
    surplus: tuple[str, ...],
) -> None:
    write(tmp_path / "in.jsonl", "a", "b", "c")
    write(tmp_path / "results.jsonl", *results)
    write(tmp_path / "errors.jsonl", *errors)
    ledger = balance(tmp_path / "in.jsonl", tmp_path)
    assert (ledger.missing, ledger.surplus) == (missing, surplus)
    assert ledger.balanced == (not missing and not surplus)
    assert (ledger.completed, ledger.failed) == (len(results), len(errors))


def test_no_output_at_all_is_every_row_missing(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", "a", "b")
    assert balance(tmp_path / "in.jsonl", tmp_path / "nothing").missing == ("a", "b")


def test_a_sample_shows_question_and_answer_of_the_same_row(tmp_path: Path) -> None:
    row = {"custom_id": "a", "body": {"messages": [{"role": "user", "content": "two\nlines"}]}}
    body = {"choices": [{"message": {"content": "billing"}}]}
    (tmp_path / "in.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "results.jsonl").write_text(json.dumps({"custom_id": "a", "response": {"body": body}}) + "\n")
    assert sample_answers(tmp_path / "in.jsonl", tmp_path) == [("a", "two lines", "billing")]
