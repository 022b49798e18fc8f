"""An API server that knows neither our kinds nor KubeRay's, for what helm does about CRDs."""

import json

import pytest
from api_server_process import ServerProcess
from cluster_fixtures import Cluster, Kubectl


@pytest.fixture
def bare(tmp_path):
    """A cluster without any CRD, with the namespace `tidemill`; it belongs to one test."""
    server = ServerProcess(tmp_path).start()
    try:
        Kubectl(server.kubeconfig)("create", "namespace", "tidemill")
        yield Cluster(server.kubeconfig)
    finally:
        server.stop()


@pytest.fixture
def cluster(request):
    """The bare cluster if the test asks for it, else the dev cluster or the API server alone, as elsewhere."""
    names = [name for name in ("bare", "devcluster") if name in request.fixturenames]
    return request.getfixturevalue(names[0] if names else "api_server")


def everything(kubectl):
    """Name of every object of the cluster but Events, as `kind.group/namespace/name`."""
    kinds = kubectl("api-resources", "--verbs=list", "-o", "name").split()
    kinds = [kind for kind in kinds if not kind.startswith("events")]
    found = json.loads(
        kubectl("get", ",".join(kinds), "--all-namespaces", "--ignore-not-found", "-o", "json") or '{"items": []}'
    )
    return {
        f"{item['kind']}/{item['metadata'].get('namespace', '')}/{item['metadata']['name']}" for item in found["items"]
    }


@pytest.fixture
def all_objects(kubectl):
    return lambda: everything(kubectl)
