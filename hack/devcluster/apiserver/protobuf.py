r"""Reads request bodies in Kubernetes' protobuf form into the documents they stand for.

The envelope (`k8s\0` and runtime.Unknown) names apiVersion and kind; the message inside is read along the kind's
published schema with the numbers of `protobuf_fields`. Answers are always JSON, which these clients accept.
"""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from devcluster.apiserver.errors import StatusError, bad_request, unsupported_media_type
from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.openapi_definitions import DELETE_OPTIONS, definitions
from devcluster.apiserver.protobuf_fields import fields_of

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TIMES = ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime")
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"

Wire = int | bytes


def decode(body: bytes) -> JsonObject:
    """Return the object in a protobuf body. Raises `StatusError` 400 or 415."""
    if not body.startswith(_MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    envelope = dict(_wire_fields(body[len(_MAGIC) :]))
    kind = dict(_wire_fields(_bytes(envelope.get(1, b""))))
    api_version, name = _text(kind.get(1, b"")), _text(kind.get(2, b""))
    message = _message_name(api_version, name)
    if message is None or fields_of(message) is None:
        raise _ask_for_json(f"{api_version} {name}")
    document = _decode_message(message, _bytes(envelope.get(2, b"")))
    return {"apiVersion": api_version, "kind": name, **document}


def _ask_for_json(what: str) -> Exception:
    return unsupported_media_type(
        f"the dev cluster's API server does not read {what} as protobuf; send application/json"
    )


def _message_name(api_version: str, kind: str) -> str | None:
    if kind == "DeleteOptions":
        return DELETE_OPTIONS
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    for name, schema in definitions().items():
        if wanted in (schema.get("x-kubernetes-group-version-kind") or ()):
            return name
    return None


def _wire_fields(data: bytes) -> Iterator[tuple[int, Wire]]:
    """Yield (field number, raw value) of a message. Raises `StatusError` 400 where it is cut short."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, form = tag >> 3, tag & 7
        if form == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if form == _BYTES:
            length, position = _varint(data, position)
        elif form in (_FIXED64, _FIXED32):
            length = 8 if form == _FIXED64 else 4
        else:
            raise bad_request(f"error decoding protobuf: wire type {form} is not known")
        if position + length > len(data):
            raise bad_request("error decoding protobuf: the message is cut short")
        yield number, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise bad_request("error decoding protobuf: a number is cut short")


def _decode_message(name: str, data: bytes) -> JsonObject:
    fields = fields_of(name)
    if fields is None:
        if _is_zero(data):
            return {}
        raise _ask_for_json(name)
    properties = definitions()[name].get("properties") or {}
    document: JsonObject = {}
    for number, raw in _wire_fields(data):
        if number not in fields:
            if not raw or (isinstance(raw, bytes) and _is_zero(raw)):
                continue
            raise _ask_for_json(f"field {number} of {name}")
        field, keeps_zero = fields[number]
        schema = properties[field]
        if schema.get("type") == "array":
            document.setdefault(field, []).append(_decode_value(schema["items"], raw))
        elif "additionalProperties" in schema:
            key, value = _map_entry(schema["additionalProperties"], _bytes(raw))
            document.setdefault(field, {})[key] = value
        else:
            value = _decode_value(schema, raw)
            if keeps_zero or value not in ("", 0, False, None, {}):
                document[field] = value
    return document


def _is_zero(data: bytes) -> bool:
    """Tell whether a message says nothing: Go writes every plain field, also those never set."""
    try:
        return all(not raw or (isinstance(raw, bytes) and _is_zero(raw)) for _, raw in _wire_fields(data))
    except StatusError:
        return False  # Text, not a message.


def _map_entry(schema: JsonObject, data: bytes) -> tuple[str, Any]:
    entry = dict(_wire_fields(data))
    return _text(entry.get(1, b"")), _decode_value(schema, entry.get(2, b""))


def _decode_value(schema: JsonObject, raw: Wire) -> Any:
    reference = schema.get("$ref", "")
    if reference:
        return _decode_reference(reference, _bytes(raw))
    if schema.get("type") == "boolean":
        return bool(raw)
    if schema.get("type") == "integer":
        return _signed(raw)
    if schema.get("format") == "byte":
        return base64.b64encode(_bytes(raw)).decode()
    return _text(raw)


def _decode_reference(name: str, data: bytes) -> Any:
    if name in _TIMES:
        return _time(data, micro=name.endswith("MicroTime"))
    fields = dict(_wire_fields(data)) if name in (_QUANTITY, _INT_OR_STRING) else {}
    if name == _QUANTITY:
        return _text(fields.get(1, b""))
    if name == _INT_OR_STRING:
        return _text(fields.get(3, b"")) if fields.get(1) else _signed(fields.get(2, 0))
    return _decode_message(name, data)


def _time(data: bytes, micro: bool) -> str | None:
    if not data:
        return None
    fields = dict(_wire_fields(data))
    moment = datetime.fromtimestamp(_signed(fields.get(1, 0)), UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{_signed(fields.get(2, 0)) // 1000:06d}Z" if micro else f"{text}Z"


def _signed(raw: Wire) -> int:
    """Return a varint as the signed 64-bit number it stands for."""
    if not isinstance(raw, int):
        raise bad_request("error decoding protobuf: expected a number")
    return raw - (1 << 64) if raw >= 1 << 63 else raw


def _bytes(raw: Wire) -> bytes:
    if not isinstance(raw, bytes):
        raise bad_request("error decoding protobuf: expected bytes")
    return raw


def _text(raw: Wire) -> str:
    return _bytes(raw).decode()
