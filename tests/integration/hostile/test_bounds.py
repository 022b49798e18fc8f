"""Every bound of every field, broken one at a time: refused by the API server, in words that name the field."""

import re

import pytest
from api_specs import SPEC
from hostile_specs import ENDPOINT_SCHEMA
from schema_violations import violations
from unit.api import endpoint_specs
from unit.api.test_schema_properties import SCHEMA

from devcluster.client import ApiError, Resource

KINDS = {
    "BatchInferenceJob": ("batchinferencejobs", SCHEMA, SPEC),
    "RealtimeEndpoint": ("realtimeendpoints", ENDPOINT_SCHEMA, endpoint_specs.SPEC),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_broken_bound_is_refused_by_the_api_server_and_its_field_named(client, namespace, kind):
    plural, schema, good = KINDS[kind]
    resource = Resource("tidemill.dev", "v1alpha1", plural)
    manifest = {"apiVersion": "tidemill.dev/v1alpha1", "kind": kind, "metadata": {"generateName": "bound-"}}
    tried, taken, unnamed = 0, [], []
    for broken in violations(schema["spec"], good):
        tried += 1
        try:
            await client.create(resource, namespace, manifest | {"spec": broken.spec})
        except ApiError as refusal:
            if refusal.status not in (400, 422) or named(broken) not in plain(refusal.message):
                unnamed.append(f"{broken}: {refusal.status} {refusal.message[:300]}")
        else:
            taken.append(str(broken))
    assert taken == []
    assert unnamed == []
    assert tried > 150, "the schema has that many bounds"


def named(broken):
    """The field as the message has it: its last part is enough where the message gives the path in its own way."""
    return broken.bound.split()[-1] if broken.bound.startswith("required") else plain(broken.field)


def plain(text):
    """Paths without numbers of list items, which stand in several ways."""
    return re.sub(r"\[\d+\]", "", text)
