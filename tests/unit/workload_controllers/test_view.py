"""What the controllers see between their own write and the watch's word of it."""

from devcluster.client import PODS, key_of
from devcluster.workloads.view import View


def obj(version, name="a", uid="1", **metadata):
    return {"metadata": {"namespace": "team", "name": name, "uid": uid, "resourceVersion": str(version),
                         "creationTimestamp": "2026-01-01T00:00:00Z", **metadata}}  # fmt: skip


def made():
    heard = []
    view = View(None, (PODS,), lambda _resource, one: heard.append(one["metadata"]["resourceVersion"]))
    return view, heard


def tell(view, kind, one):
    """What a watch would."""
    cache = view.caches[PODS]
    if kind == "DELETED":
        cache.objects.pop(key_of(one), None)
    else:
        cache.objects[key_of(one)] = one
    cache.on_change(kind, one)


def versions(view):
    return [one["metadata"]["resourceVersion"] for one in view.all(PODS, "team")]


def test_an_own_write_is_seen_at_once_and_until_the_watch_is_as_far():
    view, heard = made()
    view.wrote(PODS, obj(5))
    assert versions(view) == ["5"]
    tell(view, "ADDED", obj(5))
    view.wrote(PODS, obj(8))
    tell(view, "MODIFIED", obj(7))
    assert versions(view) == ["8"]
    tell(view, "MODIFIED", obj(9))
    assert versions(view) == ["9"]
    assert heard == ["5", "7", "9"]


def test_an_answer_that_comes_after_the_watch_changes_nothing():
    view, _ = made()
    tell(view, "ADDED", obj(6))
    view.wrote(PODS, obj(5))
    assert versions(view) == ["6"]


def test_an_answer_that_comes_after_the_end_brings_nothing_back():
    view, _ = made()
    tell(view, "ADDED", obj(5))
    tell(view, "DELETED", obj(7))
    view.wrote(PODS, obj(6))
    assert versions(view) == []


def test_what_was_deleted_is_seen_as_terminating_until_it_is_gone():
    view, _ = made()
    tell(view, "ADDED", obj(5))
    view.deleted(obj(5))
    assert view.all(PODS, "team")[0]["metadata"]["deletionTimestamp"]
    tell(view, "DELETED", obj(6))
    assert versions(view) == []
    tell(view, "ADDED", obj(7, uid="2"))
    assert "deletionTimestamp" not in view.get(PODS, ("team", "a"))["metadata"]
