"""Which options go together."""

from pathlib import Path

import pytest

from demo.command_line import parse_arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--realtime", "--job", "x.yaml"], "--job: for a batch job"),
        (["--realtime", "--input", "x", "--output", "y"], "--input, --output: for a batch job"),
        (["--endpoint", "x.yaml"], "--endpoint: only with --realtime"),
    ],
)
def test_options_of_the_other_demo_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_arguments(arguments)
    assert message in capsys.readouterr().err


def test_each_demo_takes_its_own() -> None:
    assert parse_arguments(["--realtime", "--endpoint", "x.yaml", "--keep"]).endpoint == Path("x.yaml")
    assert not parse_arguments(["--input", "rows.jsonl"]).realtime
