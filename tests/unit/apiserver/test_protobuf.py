"""Protobuf bodies, as Go clients write them."""

import pytest

from devcluster.apiserver import openapi_definitions, protobuf, protobuf_fields
from devcluster.apiserver.errors import StatusError


def number(value):
    value &= (1 << 64) - 1
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(place, value):
    if isinstance(value, int):
        return number(place << 3) + number(value)
    data = value.encode() if isinstance(value, str) else value
    return number(place << 3 | 2) + number(len(data)) + data


def entry(place, key, value):
    return field(place, field(1, key) + field(2, value))


def body(api_version, kind, message):
    return (
        b"k8s\x00" + field(1, field(1, api_version) + field(2, kind)) + field(2, message) + field(3, "") + field(4, "")
    )


META = field(1, "x") + field(2, "") + field(3, "n") + field(5, "") + field(7, 0) + field(8, b"")


def test_what_kubectl_create_namespace_sends_is_read():
    # The very bytes of `kubectl create namespace x`.
    sent = bytes.fromhex("6b3873000a0f0a02763112094e616d65737061636512190a110a01781200"
                         "1a0022002a0032003800420012001a020a001a002200")  # fmt: skip
    assert protobuf.decode(sent) == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}}


def test_a_secret_keeps_its_bytes_as_base64():
    message = field(1, META + entry(11, "l", "v")) + entry(2, "a", b"\x00\xff") + field(3, "Opaque") + field(5, 0)
    assert protobuf.decode(body("v1", "Secret", message)) == {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x", "namespace": "n", "labels": {"l": "v"}},
        "data": {"a": "AP8="}, "type": "Opaque", "immutable": False,
    }  # fmt: skip


def test_times_numbers_and_ports_take_their_json_form():
    lease = field(1, META) + field(
        2, field(1, "me") + field(2, 15) + field(4, field(1, 1_767_225_600) + field(2, 5000))
    )
    spec = protobuf.decode(body("coordination.k8s.io/v1", "Lease", lease))["spec"]
    assert spec == {"holderIdentity": "me", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000005Z"}
    port = field(1, "http") + field(3, 80) + field(4, field(1, 1) + field(2, 0) + field(3, "web")) + field(5, 0)
    service = protobuf.decode(body("v1", "Service", field(1, META) + field(2, field(1, port))))
    assert service["spec"]["ports"] == [{"name": "http", "port": 80, "targetPort": "web"}]
    priority = field(1, META) + field(2, -5)
    assert protobuf.decode(body("scheduling.k8s.io/v1", "PriorityClass", priority))["value"] == -5


def test_a_zero_that_was_set_is_kept():
    deployment = field(1, META) + field(2, field(1, 0))
    assert protobuf.decode(body("apps/v1", "Deployment", deployment))["spec"] == {"replicas": 0}


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"{}", 400),
        (b"k8s\x00\x0a\x7f", 400),
        (body("v1", "Node", field(1, META)), 415),
        (body("unknown.io/v1", "Thing", b""), 415),
        (body("v1", "ConfigMap", field(9, "new field")), 415),
    ],
)
def test_what_cannot_be_read_is_refused(sent, code):
    with pytest.raises(StatusError) as refused:
        protobuf.decode(sent)
    assert refused.value.code == code


def test_every_field_of_the_table_is_in_the_published_schema():
    definitions = openapi_definitions.definitions()
    for message in protobuf_fields._ROWS:
        names = {name for name, _ in protobuf_fields.fields_of(message).values()}
        assert names <= set(definitions[message]["properties"]), message
