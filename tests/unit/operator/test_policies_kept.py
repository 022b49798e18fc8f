"""The NetworkPolicy of a RayCluster is looked after whatever else goes wrong at a look, and as long as that lasts."""

import pytest
from unit.operator.test_endpoint_reconciler import Api as EndpointApi
from unit.operator.test_endpoint_reconciler import World as EndpointWorld
from unit.operator.test_network_policies import ON, world

from tidemill_operator.cache import Key, Watched
from tidemill_operator.config import Settings
from tidemill_operator.endpoint_reconciler import EndpointReconciler
from tidemill_operator.errors import ApiUnavailableError, RejectedError
from tidemill_operator.ray_api import RayApi
from tidemill_operator.reconciler import Reconciler

KEY = Key("team", "tickets")
FAULTS = [RejectedError("patch is forbidden"), ApiUnavailableError("HTTP 500"), KeyError("a bug")]


@pytest.mark.parametrize("fault", FAULTS, ids=["refused", "passing", "bug"])
async def test_a_job_that_cannot_be_brought_further_keeps_its_policy(fault):
    api, cache, _ = world()
    reconciler = reconciler_of(api, cache, fault)
    with pytest.raises(type(fault), match=str(fault)):
        await reconciler.reconcile(KEY)
    assert list(api.policies) == [body["metadata"]["name"] for body in cache.clusters_of(KEY)]


async def test_of_two_faults_the_first_is_told():
    api, cache, _ = world()

    async def create(resource, manifest):
        raise ApiUnavailableError("the second")

    reconciler = reconciler_of(api, cache, RejectedError("the first"))
    api.create = create
    with pytest.raises(RejectedError, match="the first"):
        await reconciler.reconcile(KEY)


def reconciler_of(api, cache, fault):
    """One whose status may not be written, of a job that has a RayCluster."""
    (standing,) = cache.clusters_of(KEY)
    uid = standing["metadata"]["ownerReferences"][0]["uid"]
    metadata = {"namespace": "team", "name": "tickets", "uid": uid, "creationTimestamp": "2026-01-01T12:00:00Z"}
    cache.put(Watched.JOBS, {"metadata": metadata | {"resourceVersion": "1"}, "spec": {}})

    async def patch_status(*_):
        raise fault

    api.patch_status = patch_status
    return Reconciler(api, RayApi(1), cache, Settings.from_environment(ON))


async def test_an_endpoint_that_cannot_be_brought_further_keeps_its_policies():
    api = EndpointApi()
    endpoint = EndpointWorld(api)
    name = endpoint.stands()["metadata"]["name"]

    async def patch_status(*_):
        raise RejectedError("patch is forbidden")

    api.patch_status = patch_status
    reconciler = EndpointReconciler(api, endpoint.serve, endpoint.cache, Settings.from_environment(ON))
    with pytest.raises(RejectedError, match="patch is forbidden"):
        await reconciler.reconcile(Key("team", "chat"))
    assert ("networkpolicies", name) in api.objects
