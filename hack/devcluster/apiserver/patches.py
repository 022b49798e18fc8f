"""JSON patch (RFC 6902) and JSON merge patch (RFC 7396).

Pure: document and patch in, new document out. The strategic merge patch is in `strategic_merge`,
server-side apply in `server_side_apply`.
"""

from typing import Any

import jsonpatch
import jsonpointer

from devcluster.apiserver.errors import bad_request, unprocessable_patch
from devcluster.apiserver.objects import JsonObject, clone

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_MERGE_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

# kube-apiserver's bound, against patches that take a server down.
MAX_JSON_PATCH_OPERATIONS = 10_000


def apply_merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` with the merge patch applied; null removes a member."""
    if not isinstance(patch, dict):
        return clone(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result


def apply_json_patch(target: JsonObject, patch: Any) -> JsonObject:
    """Return `target` with the JSON patch applied.

    Raises `StatusError`: 400 for what is no patch, 422 where an operation fails (a `test` that does not hold,
    a path that does not exist).
    """
    if not isinstance(patch, list):
        raise bad_request("error decoding patch: a JSON patch is a list of operations")
    if len(patch) > MAX_JSON_PATCH_OPERATIONS:
        raise bad_request(f"The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}")
    try:
        result = jsonpatch.JsonPatch(patch).apply(clone(target))
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"error decoding patch: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException) as error:
        text = str(error) or type(error).__name__
        raise unprocessable_patch(f"the server rejected our request due to an error in our request: {text}") from error
    if not isinstance(result, dict):
        raise unprocessable_patch("the server rejected our request: the patch leaves no object")
    return result
