"""The chart README's table of values, from values.yaml and its comments: `python hack/chart_readme.py [--check]`.

Only what stands between the two marks is written; the rest of the README is by hand. `--check` writes nothing and fails
where the table is not up to date. A value whose parts have no comments of their own is one row.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHART = Path(__file__).parents[1] / "charts" / "tidemill"
BEGIN = "<!-- values: made by hack/chart_readme.py from values.yaml -->\n"
END = "<!-- end of values -->\n"
HEAD = "| value | default | meaning |\n|---|---|---|\n"


def table(values: str) -> str:
    """The Markdown table of a values.yaml. ValueError where a value has no comment."""
    rows = _rows(yaml.compose(values, Loader=yaml.SafeLoader), values.splitlines(), "")
    return HEAD + "".join(f"| `{name}` | {default} | {meaning} |\n" for name, default, meaning in rows)


def _rows(mapping: Any, lines: Sequence[str], above: str) -> Iterator[tuple[str, str, str]]:
    for key, value in mapping.value:
        name = above + key.value
        comment = _comment(lines, key.start_mark.line)
        if not comment:
            raise ValueError(f"values.yaml, line {key.start_mark.line + 1}: {name} has no comment")
        if isinstance(value, yaml.MappingNode) and value.value and _comment(lines, value.value[0][0].start_mark.line):
            yield name, "", comment
            yield from _rows(value, lines, f"{name}.")
        else:
            yield name, _default(value), comment


def _comment(lines: Sequence[str], line: int) -> str:
    """The comment right above a line, as one line that a table can hold."""
    found: list[str] = []
    while line > 0 and (text := lines[line - 1].strip()).startswith("#"):
        found.insert(0, text.lstrip("#").strip())
        line -= 1
    return " ".join(found).replace("|", "\\|")


def _default(node: yaml.Node) -> str:
    value = yaml.safe_load(yaml.serialize(node))
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def filled(readme: str, values: str) -> str:
    """The README with the table of these values. ValueError where it has no marks."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the README needs the lines {BEGIN.strip()} and {END.strip()}")
    return before + begin + "\n" + table(values) + "\n" + end + after


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table, or with --check say whether it is stale; the exit code is 1 where it is."""
    parser = argparse.ArgumentParser(description="Write the table of values in the chart's README.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where it is not up to date")
    check = parser.parse_args(arguments).check
    path = CHART / "README.md"
    before = path.read_text(encoding="utf-8")
    after = filled(before, (CHART / "values.yaml").read_text(encoding="utf-8"))
    if check and after != before:
        sys.stderr.write(f"{path} is not what values.yaml says: run python hack/chart_readme.py\n")
        return 1
    if not check:
        path.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
