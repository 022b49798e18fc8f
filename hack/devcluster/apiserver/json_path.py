"""The JSON paths of printer columns: members, indexes, `*` and equality filters.

`.status.conditions[?(@.type=="Ready")].status` and the like, after the part of k8s.io/client-go/util/jsonpath that
a CustomResourceDefinition's columns use. Pure: a path is parsed once and applied to many objects.
"""

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""\.?(?:
        \[\?\(\s*@(?P<path>[^=!<>\s]*)\s*(?P<operator>==|!=|<=|>=|<|>)\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]
      | \[(?P<index>-?\d+|\*)\]
      | \[(?P<quote>['"])(?P<quoted>.*?)(?P=quote)\]
      | (?P<name>(?:\\.|[^.\[\]\\])+)
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Step:
    """One step: a `name`, an `index` ("*" for all) or a filter `where` (path, operator, value)."""

    name: str = ""
    index: str = ""
    where: tuple[tuple["Step", ...], str, Any] | None = None


@functools.lru_cache(maxsize=1024)
def parse(path: str) -> tuple[Step, ...]:
    """Parse a path such as `.spec.replicas`. Raises `ValueError`."""
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    steps, position = [], 0
    while position < len(text):
        if text[position:] == ".":
            break
        found = _TOKEN.match(text, position)
        if not found:
            raise ValueError(f"cannot understand the JSON path {path!r} from {text[position:]!r} on")
        steps.append(_step(found))
        position = found.end()
    return tuple(steps)


def _step(found: "re.Match[str]") -> Step:
    if found["operator"]:
        return Step(where=(parse(found["path"]), found["operator"], _literal(found["value"])))
    if found["index"]:
        return Step(index=found["index"])
    if found["quote"]:
        return Step(name=found["quoted"].replace("\\.", "."))
    return Step(
        name="" if found["name"] == "*" else re.sub(r"\\(.)", r"\1", found["name"]),
        index="*" if found["name"] == "*" else "",
    )


def _literal(text: str) -> Any:
    if text[:1] in "'\"":
        return text[1:-1]
    try:
        return json.loads(text)
    except ValueError:
        return text


def find(steps: tuple[Step, ...], value: Any) -> list[Any]:
    """Return every value the path leads to; none where something on the way is missing."""
    found = [value]
    for step in steps:
        found = [below for one in found for below in _below(step, one)]
    return found


def _below(step: Step, value: Any) -> Iterator[Any]:
    if step.where is not None:
        path, operator, wanted = step.where
        for item in value if isinstance(value, list) else ():
            if any(_compare(inner, operator, wanted) for inner in find(path, item)):
                yield item
    elif step.index == "*":
        if isinstance(value, list | dict):
            yield from value.values() if isinstance(value, dict) else value
    elif step.index:
        if isinstance(value, list) and -len(value) <= int(step.index) < len(value):
            yield value[int(step.index)]
    elif isinstance(value, dict) and step.name in value:
        yield value[step.name]


def _compare(value: Any, operator: str, wanted: Any) -> bool:
    if operator == "==":
        return bool(value == wanted)
    if operator == "!=":
        return bool(value != wanted)
    if type(value) is not type(wanted) or not isinstance(value, str | int | float):
        return False
    comparisons = {"<": value < wanted, ">": value > wanted, "<=": value <= wanted, ">=": value >= wanted}
    return bool(comparisons[operator])
