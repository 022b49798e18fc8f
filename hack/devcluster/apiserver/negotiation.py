"""Media types: what a client sends and what it wants back.

Pure. JSON, YAML and (of some kinds) protobuf are read, JSON is written: clients that prefer protobuf also
accept JSON. An object can be asked for as itself, as a `Table` or as its metadata alone.
"""

import json
from dataclasses import dataclass
from typing import Any

import yaml

from devcluster.apiserver import protobuf
from devcluster.apiserver.errors import bad_request, not_acceptable, unsupported_media_type

JSON = "application/json"
_YAML_TYPES = ("application/yaml", "application/apply-patch+yaml")


@dataclass(frozen=True)
class MediaType:
    """One alternative of an Accept header; `transform` is `Table`, `PartialObjectMetadata` or empty."""

    name: str
    transform: str = ""
    group: str = ""


def parse_accept(header: str) -> list[MediaType]:
    """Return the alternatives in the client's order, quality aside as kube-apiserver's clients use it."""
    found = []
    for part in header.split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        given = dict(parameter.split("=", 1) for parameter in parameters if "=" in parameter)
        if name:
            found.append(MediaType(name, given.get("as", ""), given.get("g", "")))
    return found or [MediaType("*/*")]


_TRANSFORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


def choose_transform(header: str) -> str:
    """Return how objects are to be shown: `Table`, `PartialObjectMetadata` or empty for themselves.

    Raises `StatusError` 406 where the client accepts nothing that is offered.
    """
    for media in parse_accept(header):
        if media.name not in (JSON, "*/*", "application/*"):
            continue
        if not media.transform:
            return ""
        if media.transform in _TRANSFORMS and media.group == "meta.k8s.io":
            return media.transform.removesuffix("List")
    raise not_acceptable(f"only the following media types are accepted: {JSON}")


def content_type_of(transform: str) -> str:
    """Return the Content-Type of an answer in this form."""
    return f"{JSON};as={transform};v=v1;g=meta.k8s.io" if transform else JSON


def decode_body(body: bytes, content_type: str) -> Any:
    """Return the document a request carries; None for an empty body. Raises `StatusError` 400 or 415."""
    if not body.strip():
        return None
    media = content_type.split(";", maxsplit=1)[0].strip().lower()
    if media == protobuf.MEDIA_TYPE:
        return protobuf.decode(body)
    if media in _YAML_TYPES and not body.lstrip().startswith((b"{", b"[")):
        return _decode_yaml(body)
    if media and not media.endswith(("json", "yaml")) and media != "application/octet-stream":
        raise unsupported_media_type(
            f"the body of the request was in an unknown format - accepted media types include: {JSON}, application/yaml"
        )
    try:
        return json.loads(body)
    except ValueError as error:
        raise bad_request(f"couldn't get version/kind; json parse error: {error}") from error


def _decode_yaml(body: bytes) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # Through JSON, so that YAML's dates and other types become what JSON can say.
        return json.loads(json.dumps(yaml.load(body, Loader=loader), default=str))  # noqa: S506 - both are safe loaders
    except yaml.YAMLError as error:
        raise bad_request(f"error decoding YAML: {error}") from error
