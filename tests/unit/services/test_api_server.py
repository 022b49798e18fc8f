"""The Service `kubernetes`: what leads pods to the API server, and that it follows the server's port."""

import json

from devcluster.client import ENDPOINT_SLICES, ENDPOINTS, SERVICES, AlreadyExists
from devcluster.services.api_server import Publisher, objects
from devcluster.services.endpoints import writes
from devcluster.services.rules import Place, rules


class Recording:
    """Stands for the client: it remembers what was written."""

    def __init__(self, *, present=False):
        self.present = present
        self.written = []

    async def create(self, resource, _namespace, body):
        if self.present:
            raise AlreadyExists(409, "AlreadyExists", "there")
        self.written.append((resource, body))

    async def patch(self, resource, _namespace, _name, body):
        self.written.append((resource, body))


def made():
    return dict(objects("10.77.1.1", 6443))


def test_its_address_leads_to_the_servers_port_on_this_machine():
    service = made()[SERVICES]
    service["spec"]["clusterIP"] = "10.96.0.1"
    found = rules([service], [made()[ENDPOINT_SLICES]])
    assert found[Place("10.96.0.1", 443)].targets == (Place("10.77.1.1", 6443),)


def test_the_controller_of_endpoints_leaves_them_alone():
    for resource in (ENDPOINTS, ENDPOINT_SLICES):
        assert writes([], [made()[resource]]).delete == ()


async def test_it_is_written_when_the_port_is_known_and_again_when_that_changes(tmp_path):
    serving, client = tmp_path / "serving.json", Recording()
    publisher = Publisher(client, serving, "10.77.1.1")
    await publisher.publish()
    assert client.written == []
    serving.write_text(json.dumps({"tls_port": 6443}))
    await publisher.publish()
    await publisher.publish()
    assert [resource.plural for resource, _ in client.written] == ["services", "endpoints", "endpointslices"]
    client.present = True
    serving.write_text(json.dumps({"tls_port": 6444}))
    await publisher.publish()
    assert len(client.written) == 6
    assert client.written[-1][1]["ports"][0]["port"] == 6444
