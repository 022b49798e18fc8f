"""What the watches tell is remembered, and wakes exactly the jobs that it concerns."""

from unit.operator.test_views import OWNER, cluster, pod

from tidemill_operator.cache import Key, WatchCache, Watched
from tidemill_operator.handlers import Feed
from tidemill_operator.manifests.names import cluster_name

KEY = Key("team", "tickets")


class Queue:
    """Stands for the work queue: notes what was asked of it."""

    def __init__(self):
        self.added: list[Key] = []
        self.added_quiet: list[Key] = []
        self.forgotten: list[Key] = []
        self.forget = self.forgotten.append

    def clear(self):
        self.added, self.added_quiet = [], []

    def add(self, key, *, quiet=False):
        (self.added_quiet if quiet else self.added).append(key)


def make_feed():
    cache, queue = WatchCache(), Queue()
    return Feed(cache, queue), cache, queue


def tickets(version="1", uid=OWNER["uid"]):
    return {"metadata": {"namespace": "team", "name": "tickets", "uid": uid, "resourceVersion": version}}


def test_a_new_version_wakes_its_job_and_the_same_version_does_not():
    feed, cache, queue = make_feed()
    for version in ("1", "1", "2"):
        feed.seen(Watched.JOBS, tickets(version))
    assert queue.added == [KEY, KEY]
    assert cache.job(KEY)["metadata"]["resourceVersion"] == "2"


def test_a_job_that_has_ended_is_quiet_once_its_cluster_is_gone():
    feed, cache, queue = make_feed()
    feed.seen(Watched.JOBS, tickets() | {"status": {"completionTime": None}})
    standing = cluster()
    standing["metadata"]["name"] = cluster_name("tickets", OWNER["uid"])
    cache.put(Watched.CLUSTERS, standing)
    ended = {"status": {"completionTime": "2026-01-01T13:00:00Z"}}
    feed.seen(Watched.JOBS, tickets("2") | ended)
    assert (queue.added, queue.added_quiet) == ([KEY, KEY], [])
    feed.gone(Watched.CLUSTERS, standing)
    feed.seen(Watched.JOBS, tickets("3") | ended)
    assert (queue.added, queue.added_quiet) == ([KEY, KEY], [KEY, KEY])


def test_who_begins_to_decide_looks_at_everything_and_last_at_what_has_ended():
    feed, _, queue = make_feed()
    feed.seen(Watched.JOBS, tickets())  # while another decided
    feed.seen(Watched.JOBS, tickets("2") | {"status": {"completionTime": "2026-01-01T13:00:00Z"}})
    other = tickets()
    other["metadata"]["name"] = "other"
    feed.seen(Watched.JOBS, other)
    feed.wake_all()
    assert (queue.added, queue.added_quiet) == ([Key("team", "other")], [KEY])


def test_a_pod_wakes_the_job_of_its_cluster():
    feed, _, queue = make_feed()
    feed.seen(Watched.CLUSTERS, cluster())
    feed.seen(Watched.PODS, pod("w"))
    feed.gone(Watched.PODS, pod("w"))
    assert queue.added == [KEY] * 3


def test_a_deleted_cluster_wakes_its_job_and_is_forgotten():
    feed, cache, queue = make_feed()
    feed.seen(Watched.CLUSTERS, cluster())
    feed.gone(Watched.CLUSTERS, cluster())
    assert queue.added == [KEY, KEY]
    assert cache.cluster("team", "c") is None


def test_a_deleted_job_is_forgotten_and_wakes_nobody():
    feed, cache, queue = make_feed()
    feed.seen(Watched.JOBS, tickets())
    feed.gone(Watched.JOBS, tickets())
    assert (queue.added, queue.forgotten) == ([KEY], [KEY])
    assert cache.job(KEY) is None


def test_a_late_word_of_an_old_objects_end_leaves_the_new_one_of_the_same_name():
    feed, cache, queue = make_feed()
    feed.seen(Watched.JOBS, tickets("1", "old"))
    feed.seen(Watched.JOBS, tickets("3", "new"))
    feed.gone(Watched.JOBS, tickets("2", "old"))
    assert cache.job(KEY)["metadata"]["uid"] == "new"
    assert queue.forgotten == []


def test_an_older_version_that_arrives_late_is_no_news():
    feed, cache, queue = make_feed()
    for version in ("10", "9"):
        feed.seen(Watched.JOBS, tickets(version))
    assert queue.added == [KEY]
    assert cache.job(KEY)["metadata"]["resourceVersion"] == "10"


def test_a_new_object_of_the_same_name_counts_whatever_its_version():
    feed, cache, _ = make_feed()
    feed.seen(Watched.JOBS, tickets("10", "old"))
    feed.seen(Watched.JOBS, tickets("9", "new"))
    assert cache.job(KEY)["metadata"]["uid"] == "new"


def test_versions_that_are_no_numbers_count_as_newer_when_they_differ():
    feed, cache, queue = make_feed()
    for version in ("b", "a", "a"):
        feed.seen(Watched.JOBS, tickets(version))
    assert queue.added == [KEY, KEY]
    assert cache.job(KEY)["metadata"]["resourceVersion"] == "a"


def test_what_a_full_comparison_misses_counts_as_deleted():
    feed, cache, queue = make_feed()
    feed.seen(Watched.CLUSTERS, cluster())
    feed.vanished(Watched.CLUSTERS, Key("team", "c"))
    feed.vanished(Watched.CLUSTERS, Key("team", "never-seen"))
    assert queue.added == [KEY, KEY]
    assert cache.cluster("team", "c") is None


def test_managed_fields_are_not_kept_in_memory():
    feed, cache, _ = make_feed()
    body = tickets()
    body["metadata"]["managedFields"] = [{"manager": "kubectl"}]
    feed.seen(Watched.JOBS, body)
    assert "managedFields" not in cache.job(KEY)["metadata"]


def rest(version="1"):
    """A job that continues `tickets`."""
    metadata = {"namespace": "team", "name": "rest", "uid": "r", "resourceVersion": version}
    return {"metadata": metadata, "spec": {"resubmitOf": "tickets"}}


def test_a_job_wakes_the_ones_that_continue_it_and_not_the_other_way_round():
    feed, _, queue = make_feed()
    feed.seen(Watched.JOBS, rest())
    feed.seen(Watched.JOBS, tickets())
    assert queue.added == [Key("team", "rest"), KEY, Key("team", "rest")]
    feed.gone(Watched.JOBS, rest())
    queue.added.clear()
    feed.seen(Watched.JOBS, tickets("2"))
    assert queue.added == [KEY]


def test_the_deletion_of_a_job_wakes_the_ones_that_continue_it():
    feed, _, queue = make_feed()
    feed.seen(Watched.JOBS, rest())
    feed.seen(Watched.JOBS, tickets())
    queue.added.clear()
    feed.gone(Watched.JOBS, tickets())
    assert (queue.added, queue.forgotten) == ([Key("team", "rest")], [KEY])
