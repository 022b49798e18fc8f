"""The roles of the chart against the operator's own code: each request is allowed, and nothing else is.

Reads the code, not a run of it: `self._cluster.create(SECRETS, ...)` asks for `create` on secrets. Kopf's requests are
those of the `on.event` handlers: list and watch.
"""

from __future__ import annotations

import ast
from pathlib import Path

from chart_rights import DISCOVERY, EVERYBODY, GRANTED, LEADER, WITH_ALERTS

from tidemill_operator import cluster

ROOT = Path(__file__).parents[3]
CODE = ROOT / "operator" / "tidemill_operator"

VERBS = {
    "create": "create",
    "delete": "delete",
    "get": "get",
    "list_all": "list",
    "merge": "patch",
    "patch": "patch",
    "replace": "update",
} | {"_create_or_find": "create"}
WATCHED = {"batchinferencejobs", "realtimeendpoints", "rayclusters", "pods", "services", "networkpolicies"}
WATCHED |= {"customresourcedefinitions"}  # by Kopf itself
TABLES = (GRANTED, WITH_ALERTS, LEADER, DISCOVERY, EVERYBODY)


def calls() -> list[ast.Call]:
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in CODE.rglob("*.py")]
    return [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]


def asked_for() -> dict[str, set[str]]:
    """Resource -> verbs that the operator's code asks the API server for."""
    resources = {name: value.plural for name, value in vars(cluster).items() if isinstance(value, cluster.Resource)}
    found: dict[str, set[str]] = {resource: {"list", "watch"} for resource in WATCHED}
    for call in calls():
        if not isinstance(call.func, ast.Attribute):
            continue
        if call.func.attr == "patch_status":
            of = next((arg.id for arg in call.args if isinstance(arg, ast.Name) and arg.id in resources), "JOBS")
            found.setdefault(f"{resources[of]}/status", set()).add("patch")
        match call.args:
            case [ast.Name(id=name), *_] if name in resources and call.func.attr in VERBS:
                found.setdefault(resources[name], set()).add(VERBS[call.func.attr])
    return found


def test_every_request_of_the_operator_is_allowed() -> None:
    for resource, verbs in asked_for().items():
        allowed = [table.get(resource, set()) for table in TABLES]
        assert verbs <= set().union(*allowed), resource


def test_nothing_is_allowed_that_the_operator_does_not_ask_for() -> None:
    """Reading one object of a kind that is watched anyway tells nothing new."""
    asked = asked_for()
    for resource, verbs in (pair for table in TABLES for pair in table.items()):
        spare = verbs - asked.get(resource, set()) - ({"get"} if resource in WATCHED else set())
        assert spare == set(), resource
