"""Printer columns, the rows of core kinds and how times are written, as tables."""

from datetime import UTC, datetime

import pytest

from devcluster.apiserver import pod_rows
from devcluster.apiserver.built_in_resources import built_in_resources
from devcluster.apiserver.built_in_tables import TABLES
from devcluster.apiserver.custom_resources import resources_of
from devcluster.apiserver.durations import age, human_duration
from devcluster.apiserver.json_path import find, parse
from devcluster.apiserver.store import Entry, Key
from devcluster.apiserver.tables import table

DOCUMENT = {
    "metadata": {"name": "x", "annotations": {"a.b/c": "yes"}},
    "spec": {"count": 3, "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]},
    "status": {
        "conditions": [{"type": "Ready", "status": "False", "n": 5}, {"type": "Succeeded", "status": "True", "n": 7}]
    },
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".spec.count", [3]),
        ("{.spec.count}", [3]),
        (".spec.missing.deeper", []),
        ('.status.conditions[?(@.type=="Succeeded")].status', ["True"]),
        (".status.conditions[?(@.type=='Ready')].status", ["False"]),
        ('.status.conditions[?(@.type!="Ready")].type', ["Succeeded"]),
        (".status.conditions[?(@.n>5)].type", ["Succeeded"]),
        ('.status.conditions[?(@.type=="Gone")].status', []),
        (".spec.ports[0].name", ["a"]),
        (".spec.ports[-1].name", ["b"]),
        (".spec.ports[9].name", []),
        (".spec.ports[*].port", [1, 2]),
        (".metadata.annotations['a.b/c']", ["yes"]),
        (r".metadata.annotations.a\.b/c", ["yes"]),
        (".", [DOCUMENT]),
    ],
)
def test_a_json_path(path, expected):
    assert find(parse(path), DOCUMENT) == expected


def test_a_json_path_that_is_none_is_refused():
    with pytest.raises(ValueError, match="cannot understand"):
        parse(".spec[")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_100, "3h5m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (700_000, "8d"),
        (86_400 * 400, "400d"),
        (86_400 * 800, "2y70d"),
        (86_400 * 365 * 9, "9y"),
    ],
)
def test_a_duration_is_written_as_kubectl_does(seconds, text):
    assert human_duration(seconds) == text


def test_an_age_without_a_time_is_unknown():
    assert age(None) == "<unknown>"
    assert age("2026-01-01T00:00:00Z", datetime(2026, 1, 1, 0, 0, 30, tzinfo=UTC)) == "30s"


def container(name="c", ready=True, restarts=0, last=None, **state):
    return {
        "name": name,
        "ready": ready,
        "restartCount": restarts,
        "state": state or {"running": {}},
        "lastState": last or {},
    }


def pod(*containers, phase="Running", initial=(), deleting=False, spec_initial=(), **status):
    meta = {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"}
    if deleting:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    names = [{"name": c["name"]} for c in containers] or [{"name": "c"}]
    return {
        "metadata": meta,
        "spec": {"containers": names, "initContainers": list(spec_initial)},
        "status": {
            "phase": phase,
            "containerStatuses": list(containers),
            "initContainerStatuses": list(initial),
            **status,
        },
    }


@pytest.mark.parametrize(
    ("document", "ready", "status"),
    [
        (pod(phase="Pending"), "0/1", "Pending"),
        (pod(container()), "1/1", "Running"),
        (pod(container(), container("d", ready=False)), "1/2", "Running"),
        (pod(container(ready=False, waiting={"reason": "CrashLoopBackOff"})), "0/1", "CrashLoopBackOff"),
        (
            pod(container(ready=False, waiting={"reason": "ContainerCreating"}), phase="Pending"),
            "0/1",
            "ContainerCreating",
        ),
        (
            pod(container(ready=False, terminated={"exitCode": 0, "reason": "Completed"}), phase="Succeeded"),
            "0/1",
            "Completed",
        ),
        (pod(container(ready=False, terminated={"exitCode": 137}), phase="Failed"), "0/1", "ExitCode:137"),
        (pod(container(ready=False, terminated={"signal": 9}), phase="Failed"), "0/1", "Signal:9"),
        (pod(container(), deleting=True), "1/1", "Terminating"),
        (pod(phase="Failed", reason="Evicted"), "0/1", "Evicted"),
        (pod(phase="Pending", spec_initial=[{"name": "i"}], initial=[container("i", ready=False)]), "0/1", "Init:0/1"),
        (
            pod(
                phase="Pending",
                spec_initial=[{"name": "i"}],
                initial=[container("i", ready=False, terminated={"exitCode": 1, "reason": "Error"})],
            ),
            "0/1",
            "Init:Error",
        ),
        (
            pod(container(), spec_initial=[{"name": "i"}], initial=[container("i", terminated={"exitCode": 0})]),
            "1/1",
            "Running",
        ),
    ],
)
def test_a_pods_row(document, ready, status):
    assert pod_rows.cells(document)[:2] == [ready, status]


def test_restarts_say_how_long_ago():
    document = pod(container(restarts=3, last={"terminated": {"finishedAt": "2000-01-01T00:00:00Z"}}))
    assert pod_rows.cells(document)[2].startswith("3 (")
    assert pod_rows.cells(pod(container(restarts=2)))[2] == "2"


@pytest.mark.parametrize("storage", sorted(TABLES))
def test_an_empty_object_of_every_kind_has_a_row(storage):
    resource = next(r for r in built_in_resources() if r.storage == storage)
    document = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"}}
    made = table(resource, [Entry(Key(storage, "", "x"), 1, document, b"")], {}, "")
    assert [len(row["cells"]) for row in made["rows"]] == [len(made["columnDefinitions"])]


def test_every_table_belongs_to_a_resource():
    assert set(TABLES) <= {resource.storage for resource in built_in_resources()}


def definition(*columns):
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object"}},
        "additionalPrinterColumns": list(columns),
    }
    names = {"plural": "things", "kind": "Thing"}
    return {"spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}}


def cells(document, *columns, **options):
    (resource,) = resources_of(definition(*columns))
    made = table(
        resource, [Entry(Key("example.com/things", "n", "x"), 1, document, b"")], {}, options.get("include", "")
    )
    return made["rows"][0]["cells"], made


def test_a_custom_resources_columns_have_types_and_priorities():
    columns = [
        {"name": "Succeeded", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Succeeded")].status'},
        {"name": "Count", "type": "integer", "jsonPath": ".spec.count", "priority": 1},
        {"name": "Ports", "type": "string", "jsonPath": ".spec.ports[0]"},
        {"name": "Wrong", "type": "integer", "jsonPath": ".metadata.name"},
        {"name": "Missing", "type": "string", "jsonPath": ".spec.none"},
        {"name": "When", "type": "date", "jsonPath": ".metadata.name"},
    ]
    row, made = cells(DOCUMENT, *columns)
    assert row == ["x", "True", 3, '{"name":"a","port":1}', None, None, "<invalid>"]
    assert [column["priority"] for column in made["columnDefinitions"]] == [0, 0, 1, 0, 0, 0, 0]


def test_a_custom_resource_without_columns_shows_its_age():
    _, made = cells(DOCUMENT)
    assert [column["name"] for column in made["columnDefinitions"]] == ["Name", "Age"]


def test_a_row_carries_what_is_asked_for():
    document = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": {}}
    assert cells(document)[1]["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert cells(document, include="Object")[1]["rows"][0]["object"] == document
    assert "object" not in cells(document, include="None")[1]["rows"][0]
