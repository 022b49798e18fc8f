"""What follows from owners and propagation: snapshot of the store in, steps out."""

import pytest

from devcluster.apiserver.built_in_resources import built_in_resources
from devcluster.apiserver.garbage_collection import Dependents, Step, steps_for
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.store import Key, Store

REGISTRY = Registry(built_in_resources())


def key(name, plural="pods"):
    return Key(f"/{plural}", "n", name)


def owner(name, uid=None, kind="ConfigMap", **more):
    return {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid or f"uid-{name}", **more}


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path / "db")
    yield opened
    opened.close()


@pytest.fixture
def make(store):
    def create(name, owners=(), plural="pods", **meta):
        if owners:
            meta["ownerReferences"] = list(owners)
        return store.create(key(name, plural), {"metadata": {"name": name, "uid": f"uid-{name}", **meta}})

    return create


def steps(store, entry):
    return steps_for(entry, store, REGISTRY, Dependents(store))


def test_an_object_whose_owner_lives_is_left_alone(store, make):
    make("boss", plural="configmaps")
    assert steps(store, make("child", [owner("boss")])) == []


@pytest.mark.parametrize(
    "reference",
    [
        pytest.param(owner("nobody"), id="the owner is missing"),
        pytest.param(owner("boss", uid="another"), id="another object has taken the name"),
    ],
)
def test_an_object_whose_owner_is_gone_goes_too(store, make, reference):
    make("boss", plural="configmaps")
    assert steps(store, make("child", [reference])) == [Step(key("child"), delete=True)]


def test_an_object_with_one_owner_left_loses_only_the_reference(store, make):
    make("boss", plural="configmaps")
    (step,) = steps(store, make("child", [owner("boss"), owner("gone")]))
    assert not step.delete
    assert [reference["name"] for reference in step.metadata["ownerReferences"]] == ["boss"]


def test_an_owner_of_a_kind_that_is_not_served_is_waited_for(store, make):
    child = make("child", [{"apiVersion": "unknown.io/v1", "kind": "Thing", "name": "x", "uid": "u"}])
    assert steps(store, child) == []


def test_foreground_deletes_what_blocks_and_waits_for_it(store, make):
    boss = make("boss", plural="configmaps", deletionTimestamp="now", finalizers=["foregroundDeletion", "other"])
    make("blocker", [owner("boss", blockOwnerDeletion=True)])
    make("bystander", [owner("boss")])
    found = steps(store, boss)
    assert found == [Step(key("blocker"), delete=True, foreground=True), Step(key("bystander"), delete=True)]
    store.delete(key("blocker"))
    store.delete(key("bystander"))
    (release,) = steps(store, boss)
    assert release.metadata["finalizers"] == ["other"]


def test_foreground_does_not_wait_for_what_does_not_block(store, make):
    boss = make("boss", plural="configmaps", deletionTimestamp="now", finalizers=["foregroundDeletion"])
    make("bystander", [owner("boss")])
    deletion, release = steps(store, boss)
    assert deletion == Step(key("bystander"), delete=True)
    assert "finalizers" not in release.metadata


def test_orphan_lets_the_dependents_go_free(store, make):
    boss = make("boss", plural="configmaps", deletionTimestamp="now", finalizers=["orphan"])
    make("child", [owner("boss"), owner("other", uid="o")])
    freed, release = steps(store, boss)
    assert [reference["name"] for reference in freed.metadata["ownerReferences"]] == ["other"]
    assert freed.key == key("child")
    assert release.key == key("boss", "configmaps")


def test_the_graph_follows_writes(store, make):
    graph = Dependents(store)
    store.listen(graph.observe)
    make("child", [owner("boss")])
    assert graph.of("uid-boss") == [key("child")]
    store.update(key("child"), {"metadata": {"name": "child", "ownerReferences": [owner("new")]}})
    assert (graph.of("uid-boss"), graph.of("uid-new")) == ([], [key("child")])
    store.delete(key("child"))
    assert graph.of("uid-new") == []
