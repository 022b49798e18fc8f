"""A revision changes with what needs a new cluster, and with nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.endpoint_builders import make_spec

from tidemill_operator.manifests.revisions import revision_cluster_name, revision_of

BASE = revision_of(make_spec())

ROLLED_OVER = {
    "model": {"name": "smollm2", "source": "other/model"},
    "batching": {"maxSequences": 7},
    "resources": {"gpu": 1},
    "head": {"memory": "8Gi"},
    "image": "registry.example/workloads:2",
    "auth": {"secretRef": {"name": "keys"}},
    "gcsFaultTolerance": {"redisAddress": "redis:6379"},
    "template": {"labels": {"team": "a"}},
    "limits": {"requestTimeoutSeconds": 61},
}
TAKEN_ON = {
    "replicas": {"min": 0, "max": 9},
    "scaling": {"targetQueueDepth": 99, "scaleToZeroAfterSeconds": 0},
    "limits": {"queueBound": 5},
    "upgrade": {"progressDeadlineSeconds": 60},
}


@pytest.mark.parametrize("field", ROLLED_OVER)
def test_what_a_running_engine_cannot_take_on_is_another_revision(field):
    assert revision_of(make_spec(**{field: ROLLED_OVER[field]})) != BASE


@pytest.mark.parametrize("field", TAKEN_ON)
def test_what_it_can_take_on_is_the_same_revision(field):
    assert revision_of(make_spec(**{field: TAKEN_ON[field]})) == BASE


def test_another_adapter_is_another_revision():
    model = make_spec().model.model_dump(by_alias=True)
    one, other = ({"name": "support", "source": f"/adapters/{version}"} for version in ("v1", "v2"))
    made = [
        make_spec(model=model | {"adapters": adapters})
        for adapters in ([], [one], [other], [one, other | {"name": "b"}])
    ]
    assert len({revision_of(spec) for spec in made}) == 4
    assert revision_of(made[0]) == BASE


def test_every_field_of_the_spec_is_one_or_the_other():
    assert ROLLED_OVER.keys() | TAKEN_ON.keys() == set(make_spec().model_dump(by_alias=True))


def test_a_default_that_is_written_out_changes_nothing():
    spec = make_spec()
    written = make_spec(**{name: spec.model_dump(by_alias=True)[name] for name in ("batching", "head", "resources")})
    assert revision_of(written) == BASE


def test_the_revision_stays_what_it_is_from_release_to_release():
    """A changed hash restarts every engine of every user: only `HASH_VERSION` may do that."""
    assert BASE == "a9af90a03c"


NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


@given(NAMES, st.uuids().map(str), st.from_regex(r"[0-9a-f]{10}", fullmatch=True))
def test_a_cluster_name_fits_kuberay_and_differs_by_revision(owner, uid, revision):
    name = revision_cluster_name(owner, uid, revision)
    assert len(name) <= 53
    assert name == revision_cluster_name(owner, uid, revision)
    assert name != revision_cluster_name(owner, uid, revision[::-1] + "0")
    assert name != revision_cluster_name(owner, uid + "x", revision)
