"""A thousand bad lines of every kind among twenty thousand: each is found once, the good ones are left alone."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from bad_lines import KINDS, LENGTH, TOOL, body, completion, said
from validation_builders import real_model, with_vllm
from workload_builders import claim_at, write_lines

from tidemill_workloads.errors import JobRefused
from tidemill_workloads.line_checks import check_line
from tidemill_workloads.parts import ERROR, ChunkParts
from tidemill_workloads.validation import Plan, validate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidemill_workloads.judge import Judge

LINES = 20_000
BAD = 1_000

GOOD = [
    body(),
    body(temperature=0.5, top_p=0.9, seed=3, stop=["\n"]),
    body(messages=[{"role": "system", "content": "Be short."}, *said("ünï \u2028 ✓")]),
    body(max_tokens=LENGTH),
    body(top_k=20, repetition_penalty=1.1),
    body(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}),
    body(tools=[TOOL], tool_choice="none"),
    body(messages=said([{"type": "text", "text": "in parts"}])),
    completion("Once upon a time", echo=True),
    completion(["one", "two"]),
    completion([1, 2, 3]),
    completion("word " * 300),
]


@pytest.fixture(scope="module")
def rules() -> Iterator[Judge]:
    with with_vllm(real_model("smollm2", max_model_len=LENGTH)) as rules:
        yield rules


@pytest.fixture(scope="module")
def lines() -> tuple[list[bytes], dict[int, str]]:
    """The lines of the file, and the codes of its bad ones by line number. Line 1 is good-1; some lines are blank."""
    chance = random.Random(7)
    bad = dict.fromkeys(sorted(chance.sample(range(10, LINES + 1), BAD)), "")
    made = []
    for number in range(1, LINES + 1):
        if number in bad:
            bad[number], make = KINDS[len([line for line in bad if bad[line]]) % len(KINDS)]
            made.append(make(f"bad-{number}"))
        elif number % 997 == 0:
            made.append(b" \r")
        else:
            make = GOOD[number % 40] if number % 40 < len(GOOD) else GOOD[0]
            made.append(make(f"good-{number}") + (b"\r" if number % 3 else b""))
    return made, bad


def report(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "validation.jsonl").read_text().split("\n") if line]


def test_each_bad_line_is_reported_once_with_its_line_and_code(
    tmp_path: Path, rules: Judge, lines: tuple[list[bytes], dict[int, str]]
) -> None:
    made, bad = lines
    source = write_lines(tmp_path / "in.jsonl", made)
    with pytest.raises(JobRefused) as caught:
        validate(source, claim_at(tmp_path / "out"), Plan(rules, 4), lambda rows: None)
    found = report(tmp_path / "out")
    assert {line["line"]: line["code"] for line in found} == bad
    assert len(found) == BAD
    first = found[0]
    codes = Counter(bad.values()).most_common(1)[0]
    assert caught.value.invalid_lines == BAD
    assert caught.value.message.startswith(f"{BAD} lines are not a valid request ({codes[1]} {codes[0]}, ")
    assert f"first line {first['line']}: {first['message']}" in caught.value.message
    assert caught.value.message.endswith("validation.jsonl; mend the input and create the job again")
    assert "\n" not in caught.value.message


def test_skipped_lines_have_their_error_line_and_the_others_none(
    tmp_path: Path, rules: Judge, lines: tuple[list[bytes], dict[int, str]]
) -> None:
    made, bad = lines
    source = write_lines(tmp_path / "in.jsonl", made)
    claim = claim_at(tmp_path / "out")
    index = validate(source, claim, Plan(rules, 4, skip=True), lambda rows: None)
    assert index.invalid == BAD
    assert index.rows == sum(1 for line in made if line.strip())
    written: list[int] = []
    for chunk in index.chunks:
        parts = ChunkParts(claim.folder, chunk.number)
        for line in parts.lines():
            assert line.kind == ERROR
            assert chunk.first_line <= line.line < chunk.first_line + chunk.lines
            answer = json.loads(line.payload)["response"]
            assert answer["status_code"] == 400
            assert answer["body"]["error"]["code"] == bad[line.line]
            written.append(line.line)
    assert written == list(bad)


@pytest.mark.parametrize(("code", "make"), KINDS[:-1])
def test_each_kind_names_its_field(rules: Judge, code: str, make: Any) -> None:
    _, problem = check_line(make("a"), rules)
    assert problem is not None
    assert problem.code == code
    assert len(problem.message) <= 280
    if problem.param is not None and problem.param != "body":
        assert problem.param.rpartition(".")[2].lower() in problem.message.lower()


@pytest.mark.parametrize("make", GOOD)
def test_each_good_kind_is_taken(rules: Judge, make: Any) -> None:
    assert check_line(make("a"), rules) == ("a", None)
