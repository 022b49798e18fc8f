"""The chart's README: its table is that of values.yaml, values in it are lawful, commands and links lead somewhere."""

from __future__ import annotations

import re

import pytest
import yaml
from chart_readme_blocks import README, blocks, values
from rendered_chart import CHART, render

import chart_readme

TEXT = README.read_text(encoding="utf-8")


def test_the_table_of_values_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert chart_readme.main(["--check"]) == 0, capsys.readouterr().err


def test_a_table_has_a_row_for_each_value_and_the_lines_of_its_comment() -> None:
    text = "# First\n# and second.\na: 1\n\n# A map.\nb:\n  # Inside | out.\n  c: [x]\n# One row.\nd:\n  e: 2\n"
    assert chart_readme.table(text) == chart_readme.HEAD + (
        "| `a` | `1` | First and second. |\n"
        "| `b` |  | A map. |\n"
        '| `b.c` | `["x"]` | Inside \\| out. |\n'
        '| `d` | `{"e": 2}` | One row. |\n'
    )


def test_a_value_without_a_comment_is_refused() -> None:
    with pytest.raises(ValueError, match="line 3: b has no comment"):
        chart_readme.table("# A.\na: 1\nb: 2\n")


def test_a_stale_table_is_written_anew_and_the_rest_stays() -> None:
    marks = f"before\n{chart_readme.BEGIN}old\n{chart_readme.END}after\n"
    assert chart_readme.filled(marks, "# A.\na: 1\n").startswith("before\n")
    assert "| `a` | `1` | A. |" in chart_readme.filled(marks, "# A.\na: 1\n")
    with pytest.raises(ValueError, match="needs the lines"):
        chart_readme.filled("no marks", "# A.\na: 1\n")


def test_files_of_values_in_it_are_rendered() -> None:
    assert values()
    for given in values():
        assert render(**given)


def test_each_value_that_its_text_and_commands_name_is_there() -> None:
    known = yaml.safe_load((CHART / "values.yaml").read_text())
    top = "|".join(known)
    for name in re.findall(rf"(?:--set |`)((?:{top})\.[A-Za-z.]+)", TEXT):
        node = known
        for part in name.rstrip(".").split("."):
            assert part in node, name
            node = node[part]


def test_the_last_command_of_the_install_is_helm_test() -> None:
    install = next(text for text in blocks("sh") if "helm install tidemill" in text)
    assert install.rstrip().splitlines()[-1].startswith("helm test tidemill")


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        path, _, anchor = target.partition("#")
        file = (CHART / path) if path else README
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), target


def anchors(text: str) -> set[str]:
    """The anchors that a forge makes of headings."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
