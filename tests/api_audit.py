"""Reads the dev API server's audit log: which rights were really used, for comparing with those that are granted.

`requests(data)` gives every line, oldest first; `used(data, user)` the set of what a user asked for and was allowed.
`data` is the server's data folder, `<state>/apiserver` of a dev cluster.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FILES = ("audit.jsonl.1", "audit.jsonl")


@dataclass(frozen=True, order=True)
class Use:
    """One action, however often it happened. `resource` is `pods` or `deployments.apps`; a path's is empty."""

    user: str
    verb: str
    resource: str
    subresource: str
    namespace: str
    path: str = ""

    def __str__(self) -> str:
        """`get pods/log in demo`, `list nodes` or `get /version`."""
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource or self.path
        return f"{self.verb} {what}" + (f" in {self.namespace}" if self.namespace else "")


@dataclass(frozen=True)
class Request:
    """One request: its `use`, the object's `name`, the answer's `code`, and by which binding it was `allowed`."""

    time: str
    use: Use
    name: str
    code: int
    allowed: bool
    reason: str


def requests(data: Path) -> Iterator[Request]:
    """Every judged request there is a line of, oldest first."""
    for name in _FILES:
        path = data / name
        for line in path.read_text().splitlines() if path.exists() else ():
            found = json.loads(line)
            group = f".{found['group']}" if found["group"] else ""
            resource = found["resource"] + group if found["resource"] else ""
            use = Use(found["user"], found["verb"], resource, found["subresource"], found["namespace"], found["path"])
            yield Request(found["time"], use, found["name"], found["code"], found["allowed"], found["reason"])


def used(data: Path, user: str) -> set[Use]:
    """What a user (`system:serviceaccount:tidemill:operator`) asked for and had the right to."""
    return {request.use for request in requests(data) if request.use.user == user and request.allowed}


def refused(data: Path, user: str) -> set[Use]:
    """What a user asked for and had no right to."""
    return {request.use for request in requests(data) if request.use.user == user and not request.allowed}
