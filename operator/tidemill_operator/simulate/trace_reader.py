"""Reads a trace from CSV or JSONL and writes one as JSONL. A line that is wrong is named, with its field and the fix.

JSONL: one object a line, its `kind` one of those in `trace` (`job` where it is left out). CSV: a header with the names
of the fields, the same; an empty cell is a field left out.
"""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Annotated

from pydantic import Discriminator, Tag, TypeAdapter, ValidationError

from tidemill_operator.simulate.trace import AnyLine, Capacity, Endpoint, Job, Limits, Load, Loss, Price, Trace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KINDS: dict[str, type[AnyLine]] = {
    "job": Job,
    "endpoint": Endpoint,
    "load": Load,
    "capacity": Capacity,
    "loss": Loss,
    "price": Price,
    "limits": Limits,
}
MOST_FAULTS = 10
"""Faults told at a time: enough to see the pattern of a wrong export."""


class TraceError(Exception):
    """A trace that cannot be replayed; the message names file, line and field, and what to do."""


def _kind(line: object) -> str:
    return str(line.get("kind", "job")) if isinstance(line, dict) else "job"


_LINE: TypeAdapter[AnyLine] = TypeAdapter(
    Annotated[
        Annotated[Job, Tag("job")]
        | Annotated[Endpoint, Tag("endpoint")]
        | Annotated[Load, Tag("load")]
        | Annotated[Capacity, Tag("capacity")]
        | Annotated[Loss, Tag("loss")]
        | Annotated[Price, Tag("price")]
        | Annotated[Limits, Tag("limits")],
        Discriminator(_kind),
    ]
)


def read_trace(path: Path, seed: int = 0) -> Trace:
    """The trace in this file, by its suffix `.csv` or `.jsonl`.

    Raises TraceError where the file cannot be read, has another suffix, or a line is wrong.
    """
    if path.suffix not in {".csv", ".jsonl"}:
        raise TraceError(f"{path}: a trace is a .csv or a .jsonl file; rename it, or convert it")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TraceError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    raw = _csv_lines(text, path) if path.suffix == ".csv" else _json_lines(text)
    lines, faults = _parsed(raw)
    if faults:
        more = f"\n... and {len(faults) - MOST_FAULTS} more faults" if len(faults) > MOST_FAULTS else ""
        raise TraceError("\n".join(f"{path}, {fault}" for fault in faults[:MOST_FAULTS]) + more)
    try:
        return Trace.of(path.stem, lines, seed)
    except ValueError as error:
        raise TraceError(f"{path}: {error}") from error


def _json_lines(text: str) -> Iterator[tuple[int, object]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            yield number, error


def _csv_lines(text: str, path: Path) -> Iterator[tuple[int, object]]:
    reader = csv.DictReader(text.splitlines(), strict=True)
    try:
        header = reader.fieldnames or ()
        if "name" not in header:
            raise TraceError(
                f"{path}, line 1: a header is missing; begin with name,arrival,rows,window,rows_per_second"
            )
        for row in reader:
            extra = row.pop(None, None)  # where DictReader puts the cells beyond the header
            if extra is not None:
                yield (
                    reader.line_num,
                    ValueError(f"{len(extra)} cells more than the header has: quote text with commas"),
                )
            else:
                yield reader.line_num, {name: cell for name, cell in row.items() if cell not in {None, ""}}
    except csv.Error as error:
        raise TraceError(
            f"{path}, line {reader.line_num}: no CSV ({error}); quote text with commas or quotes"
        ) from error


def _parsed(raw: Iterable[tuple[int, object]]) -> tuple[list[AnyLine], list[str]]:
    lines: list[AnyLine] = []
    faults: list[str] = []
    for number, value in raw:
        if isinstance(value, Exception):
            what = f"no JSON ({value}); write one object a line" if isinstance(value, json.JSONDecodeError) else value
            faults.append(f"line {number}: {what}")
            continue
        try:
            lines.append(_LINE.validate_python(value))
        except ValidationError as error:
            faults += [f"line {number}: {_fault(value, fault)}" for fault in error.errors(include_url=False)]
    return lines, faults


def _fault(value: object, fault: object) -> str:
    """One fault in words: which field, what is wrong, what would be right."""
    assert isinstance(fault, dict)  # noqa: S101 - pydantic's ErrorDetails is a TypedDict
    if fault["type"] == "union_tag_invalid":
        return f"kind {_kind(value)!r} is none; use one of {', '.join(KINDS)}"
    if not isinstance(value, dict):
        return f"not an object but {type(value).__name__}; write one object a line"
    field = ".".join(str(part) for part in fault["loc"][1:])
    allowed = KINDS[_kind(value)].model_fields
    if fault["type"] == "extra_forbidden":
        return f"{field!r} is no field of a {_kind(value)}; it has {', '.join(sorted(allowed))}"
    if fault["type"] == "missing":
        return f"{field!r} is missing; give it"
    if not field:
        return str(fault["msg"]).removeprefix("Value error, ")
    length = " or a time such as 90s, 30m, 4h" if fault["type"].startswith("float_") else ""
    return f"{field!r} is {fault['input']!r}; {str(fault['msg']).removeprefix('Input ')}{length}"


def write_trace(trace: Trace, path: Path) -> None:
    """Writes a trace as JSONL, a field that has its default left out; `read_trace` reads the same trace back."""
    lines: list[AnyLine] = [
        trace.limits,
        *trace.endpoints,
        *trace.loads,
        *trace.capacities,
        *trace.losses,
        *trace.prices,
        *trace.jobs,
    ]
    texts = [json.dumps({"kind": line.kind} | line.model_dump(exclude_defaults=True)) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
