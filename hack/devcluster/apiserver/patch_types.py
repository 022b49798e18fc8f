"""Which patch a request carries, by its content type, as a change to apply to an object."""

from collections.abc import Sequence
from typing import Any

from devcluster.apiserver.errors import StatusError, bad_request, unsupported_media_type
from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.patches import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_MERGE_PATCH,
    apply_json_patch,
    apply_merge_patch,
)
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.schemas import node_of
from devcluster.apiserver.strategic_merge import apply_strategic_merge_patch
from devcluster.apiserver.writes import Change


def patch_change(resource: Resource, content_type: str, patch: Any) -> Change:
    """Return the change a patch makes. Raises `StatusError` 400 or 415."""
    if content_type != STRATEGIC_MERGE_PATCH:
        return merge_change(content_type, patch)
    if resource.custom:
        raise _unsupported((JSON_PATCH, MERGE_PATCH, APPLY_PATCH))
    node, changes = node_of(resource), _object(patch)
    return lambda current: apply_strategic_merge_patch(node, current, changes)


def merge_change(content_type: str, patch: Any) -> Change:
    """Return the change of a JSON or merge patch, which need no schema. Raises `StatusError` 400 or 415."""
    if content_type == JSON_PATCH:
        return lambda current: apply_json_patch(current, patch)
    if content_type != MERGE_PATCH:
        raise _unsupported((JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH, APPLY_PATCH))
    changes = _object(patch)
    return lambda current: apply_merge_patch(current, changes)


def _object(patch: Any) -> JsonObject:
    if not isinstance(patch, dict):
        raise bad_request("error decoding patch: a merge patch is an object")
    return patch


def _unsupported(accepted: Sequence[str]) -> StatusError:
    return unsupported_media_type(
        f"the body of the request was in an unknown format - accepted media types include: {', '.join(accepted)}"
    )
