"""The watch cache finds objects by whose they are, and never by what another object of the same name was."""

import pytest

from tidemill_operator.cache import RAY_CLUSTER_LABEL, Key, WatchCache, Watched, alike
from tidemill_operator.cached_jobs import read_measures

MEASURED = {"rowsPerSecondPerWorker": "7.5", "rows": 500, "startupSeconds": 40, "startups": 2}


def job(name, *, uid="", version="1", measured=None, resubmit_of="", source="m"):
    metadata = {"name": name, "namespace": "team", "uid": uid or f"uid-{name}", "resourceVersion": version}
    status = {"measured": measured} if measured else {}
    return {"metadata": metadata, "spec": {"model": {"source": source}, "resubmitOf": resubmit_of}, "status": status}


def names(bodies):
    return {body["metadata"]["name"] for body in bodies}


def test_a_job_made_anew_under_its_name_has_measured_nothing():
    """`kubectl replace --force`: the watch tells the new object before the end of the old one, or that end never."""
    cache = WatchCache()
    cache.put(Watched.JOBS, job("old", measured=MEASURED))
    cache.put(Watched.JOBS, job("own"))
    assert names(cache.measured(alike(job("own")))) == {"old"}
    cache.put(Watched.JOBS, job("old", uid="another"))
    assert cache.measured(alike(job("own"))) == ()
    cache.put(Watched.JOBS, job("old", uid="another", version="2", measured=MEASURED, source="large"))
    assert cache.measured(alike(job("own"))) == ()
    assert names(cache.measured(alike(job("own", source="large")))) == {"old"}


def test_a_job_made_anew_without_a_source_waits_for_nobody():
    cache = WatchCache()
    cache.put(Watched.JOBS, job("again", resubmit_of="first"))
    assert cache.dependents(Key("team", "first")) == (Key("team", "again"),)
    cache.put(Watched.JOBS, job("again", uid="another", resubmit_of="second"))
    assert cache.dependents(Key("team", "first")) == ()
    assert cache.dependents(Key("team", "second")) == (Key("team", "again"),)


def test_a_pod_made_anew_under_its_name_is_of_its_own_cluster_alone():
    cache = WatchCache()
    for uid, cluster in (("1", "one"), ("2", "two")):
        labels = {RAY_CLUSTER_LABEL: cluster}
        cache.put(Watched.PODS, {"metadata": {"name": "w", "namespace": "team", "uid": uid, "labels": labels}})
    assert cache.pods("team", "one") == ()
    assert names(cache.pods("team", "two")) == {"w"}


@pytest.mark.parametrize(
    "status",
    [{}, {"status": None}, {"status": {"measured": None}}, {"status": {"measured": {"rows": "of another operator"}}}],
)
def test_a_job_without_a_measure_says_nothing_to_others(status):
    body = {"metadata": {"name": "a", "namespace": "team"}} | status
    assert read_measures((body,)) == ()


def test_the_number_of_the_measures_changes_with_what_they_say_and_with_nothing_else():
    cache = WatchCache()
    like = alike(job("a"))
    numbers = [cache.measured_version(like)]

    def put(*bodies):
        for body in bodies:
            cache.put(Watched.JOBS, body)
        numbers.append(cache.measured_version(like))

    put(job("a", measured=MEASURED))
    put(job("a", version="2", measured=MEASURED), job("b"), job("c", measured=MEASURED, source="large"))
    put(job("b", version="2", measured=MEASURED))
    put(job("b", version="3", measured=MEASURED | {"rows": 600}))
    cache.drop(Watched.JOBS, Key("team", "b"))
    put()
    cache.drop(Watched.JOBS, Key("team", "a"))
    put()
    none, first, same, two, changed, one, gone = numbers
    assert (none, gone) == (0, 0)
    assert first == same
    assert len({first, two, changed, one, 0}) == 5
