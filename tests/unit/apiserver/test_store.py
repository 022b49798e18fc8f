"""The store: revisions, the recent past, and that a restart finds everything as it was."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devcluster.apiserver.store import CompactedError, Key, KeyExistsError, KeyMissingError, Store

KEY = Key("/pods", "default", "p")


def document(**fields):
    return {"metadata": {"name": "p"}, **fields}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "objects.sqlite3"


@pytest.fixture
def store(path):
    opened = Store(path, history=10)
    yield opened
    opened.close()


def test_every_write_is_a_new_revision(store):
    first = store.create(KEY, document())
    second = store.update(KEY, document(a=1))
    final = store.delete(KEY)
    assert first.revision < second.revision < final.revision == store.revision
    assert final.document["metadata"]["resourceVersion"] == str(final.revision)
    assert final.document["a"] == 1


def test_a_create_of_a_taken_key_and_a_write_of_none_are_refused(store):
    store.create(KEY, document())
    with pytest.raises(KeyExistsError):
        store.create(KEY, document())
    missing = Key("/pods", "default", "q")
    with pytest.raises(KeyMissingError):
        store.update(missing, document())
    with pytest.raises(KeyMissingError):
        store.delete(missing)


def test_a_stored_document_is_not_the_one_that_was_given(store):
    given_document = document()
    entry = store.create(KEY, given_document)
    assert "resourceVersion" not in given_document["metadata"]
    assert entry.document["metadata"]["resourceVersion"] == str(entry.revision)


def test_events_follow_a_revision(store):
    first = store.create(KEY, document())
    store.update(KEY, document(a=1))
    store.delete(KEY)
    events = list(store.events_after(first.revision))
    assert [event.type for event in events] == ["MODIFIED", "DELETED"]
    assert events[0].previous is first
    assert list(store.events_after(store.revision)) == []


def test_a_revision_that_is_no_longer_kept_is_refused(store):
    store.create(KEY, document())
    for number in range(30):
        store.update(KEY, document(a=number))
    with pytest.raises(CompactedError) as refused:
        store.events_after(5)
    assert refused.value.oldest == store.compacted > 5
    assert list(store.events_after(store.compacted))


def test_large_objects_shorten_the_past(path):
    store = Store(path, history=1000)
    store.create(KEY, document(a="x" * 1_000_000))
    for _ in range(50):
        store.update(KEY, document(a="x" * 1_000_000))
    assert 20 <= len(list(store.events_after(store.compacted))) <= 40
    store.close()


def test_listeners_hear_of_a_write_once_it_is_durable(store, path):
    seen = []

    def listen(event):
        with_other_eyes = Store(path)
        seen.append((event.type, with_other_eyes.get(KEY).revision))
        with_other_eyes.close()

    store.listen(listen)
    entry = store.create(KEY, document())
    assert seen == [("ADDED", entry.revision)]


def test_a_list_is_ordered_and_kept_to_its_namespace(store):
    for namespace, name in (("b", "x"), ("a", "z"), ("a", "y")):
        store.create(Key("/pods", namespace, name), document())
    places = [(entry.key.namespace, entry.key.name) for entry in store.list("/pods")]
    assert places == [("a", "y"), ("a", "z"), ("b", "x")]
    assert [entry.key.name for entry in store.list("/pods", "b")] == ["x"]


WRITES = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["put", "delete"]), st.integers(0, 9)), max_size=40)


@settings(max_examples=40, deadline=None)
@given(WRITES, st.integers(1, 12))
def test_a_restart_finds_the_same_objects_revision_and_past(writes, history):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "db"
        before = Store(path, history)
        for name, verb, value in writes:
            key = Key("/pods", "n", name)
            if verb == "delete":
                if before.get(key):
                    before.delete(key)
            elif before.get(key):
                before.update(key, document(v=value))
            else:
                before.create(key, document(v=value))
        # Not closed: a killed process closes nothing.
        after = Store(path, history)
        assert [entry.body for entry in after.list("/pods")] == [entry.body for entry in before.list("/pods")]
        assert (after.revision, after.compacted) == (before.revision, before.compacted)
        past = [[(e.type, e.entry.revision) for e in store.events_after(store.compacted)] for store in (before, after)]
        assert past[0] == past[1]
        before.close()
        after.close()
