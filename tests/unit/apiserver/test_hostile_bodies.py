"""Whatever a client sends, it is stored or refused with a `Status`: no document makes the server fail."""

import asyncio

import pytest
from api_server_process import pod, thing, thing_definition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devcluster.apiserver import writes
from devcluster.apiserver.bootstrap import create_initial_objects
from devcluster.apiserver.built_in_resources import built_in_resources
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.controllers import Controllers
from devcluster.apiserver.custom_resources import STORAGE
from devcluster.apiserver.errors import StatusError
from devcluster.apiserver.objects import clone
from devcluster.apiserver.patch_types import patch_change
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.requests import Target, WriteOptions
from devcluster.apiserver.store import Entry, Store
from devcluster.apiserver.tables import table

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
WELL_FORMED_META = {
    "name": "x",
    "generateName": "x-",
    "labels": {"a": "b"},
    "annotations": {"a": "b"},
    "finalizers": ["example.com/f"],
    "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}],
    "managedFields": [{"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:spec": {}}}],
    "resourceVersion": "1",
    "uid": "u",
    "creationTimestamp": None,
}


def full_pod():
    container = {
        "name": "c", "image": "i", "ports": [{"containerPort": 80}],
        "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
        "resources": {"limits": {"cpu": "1"}, "requests": {"memory": 5}}, "livenessProbe": {"httpGet": {"port": 80}},
    }  # fmt: skip
    volumes = [{"name": "v", "secret": {"secretName": "s"}}, {"name": "w"}]
    return {
        **pod(),
        "spec": {
            "containers": [container],
            "initContainers": [container],
            "volumes": volumes,
            "nodeSelector": {"a": "b"},
        },
    }


def full_status():
    state = {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:00:00Z"}}
    container = {"name": "c", "ready": True, "restartCount": 2, "state": state, "lastState": state}
    return {"phase": "Running", "containerStatuses": [container], "conditions": [{"type": "Ready", "status": "True"}]}


def service():
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "x"},
        "spec": {"ports": [{"port": 1}], "selector": {"a": "b"}},
    }


def deployment():
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {}, "spec": full_pod()["spec"]},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}


DOCUMENTS = [full_pod(), service(), deployment(), thing(free={"a": [1]}), thing_definition("other.example.com")]


def places(document, path=()):
    """Every place in a document, as a path of keys and indexes."""
    if path:
        yield path
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield from places(value, (*path, key))


@st.composite
def hostile(draw, document):
    """A sound document in which one or two values were replaced by anything."""
    broken = clone(document)
    broken["metadata"] = {**clone(WELL_FORMED_META), **broken["metadata"]}
    for _ in range(draw(st.integers(1, 2))):
        *parents, last = draw(st.sampled_from(sorted(places(broken), key=str)))
        target = broken
        for step in parents:
            target = target[step]
        target[last] = draw(ANYTHING)
    return broken


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(Store(tmp_path_factory.mktemp("store") / "db"), Registry(built_in_resources()))

    async def start():
        Controllers(made).start().cancel()

    asyncio.run(start())
    create_initial_objects(made)
    place = Target(made.registry.of_storage(STORAGE))
    writes.create(made, place, thing_definition(), WriteOptions())
    yield made
    made.store.close()


def resource_of(cluster, document):
    group, _, version = document["apiVersion"].rpartition("/")
    return cluster.registry.of_kind(group, version, document["kind"])


def judge(refused):
    """A refusal is the client's fault, never the server's."""
    assert refused.code in (400, 409, 415, 422), refused.message


RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document["kind"])
@RELAXED
@given(data=st.data())
def test_a_broken_document_is_stored_or_refused(cluster, document, data):
    broken = data.draw(hostile(document))
    resource = resource_of(cluster, document)
    target = Target(resource, "default")
    try:
        made = writes.create(cluster, target, broken, WriteOptions())
    except StatusError as refused:
        judge(refused)
        return
    key = resource.key("default", made["metadata"]["name"])
    table(resource, [cluster.store.get(key)], {}, "")
    cluster.store.delete(key)


@pytest.mark.parametrize(
    "kind", ["application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml"]
)
@pytest.mark.parametrize(
    "document",
    [full_pod(), thing(free={"a": [1]}), thing_definition("other.example.com")],
    ids=lambda document: document["kind"],
)
@RELAXED
@given(data=st.data())
def test_a_broken_patch_is_applied_or_refused(cluster, document, kind, data):
    resource = resource_of(cluster, document)
    target = Target(resource, "default", document["metadata"]["name"])
    sound = {**document, "status": full_status()} if resource.storage == "/pods" else document
    if cluster.store.get(target.key):
        cluster.store.delete(target.key)
    writes.create(cluster, Target(resource, "default"), clone(document), WriteOptions())
    broken = data.draw(hostile(sound))
    broken["metadata"] = {"name": document["metadata"]["name"], "labels": data.draw(ANYTHING)}
    subresource = data.draw(st.sampled_from(["", "status"]))
    target = Target(resource, "default", document["metadata"]["name"], subresource)
    try:
        if kind.endswith("yaml"):
            broken |= {"apiVersion": document["apiVersion"], "kind": document["kind"]}
            writes.apply(cluster, target, broken, WriteOptions(field_manager="m", apply=True, force=True))
        else:
            writes.modify(cluster, target, patch_change(resource, kind, broken), WriteOptions())
    except StatusError as refused:
        judge(refused)
    entry = cluster.store.get(target.key)
    assert isinstance(entry, Entry)
    table(resource, [entry], {}, "")
    cluster.store.delete(target.key)
