"""What the server does to built-in kinds on their way in, beyond their schemas.

After the strategies and defaults of k8s.io/kubernetes/pkg/registry and pkg/apis. Only what clients of the dev cluster
see or rely on.
"""

import base64
from collections.abc import Callable

from devcluster.apiserver import custom_resources, definition_rules
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import invalid
from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.requests import Target

Rule = Callable[[JsonObject, JsonObject | None], None]


def prepare(target: Target, new: JsonObject, old: JsonObject | None) -> None:
    """Complete the object in place, before it is validated; `old` is None on creation."""
    rule = _RULES.get(target.resource.storage)
    if rule is not None:
        rule(new, old)


def complete(cluster: Cluster, target: Target, new: JsonObject) -> None:
    """Complete a valid object in place with what depends on other objects. Raises `StatusError` 422.

    A CustomResourceDefinition gets its status at once: its resources are served as soon as it is stored.
    """
    if target.resource.storage != custom_resources.STORAGE:
        return
    causes = definition_rules.definition_causes(new)
    if causes:
        raise invalid(target.resource.subject(new["metadata"]["name"]), causes)
    others = [entry.document for entry in cluster.store.list(custom_resources.STORAGE)]
    taken = custom_resources.names_taken(others, new["spec"]["group"])
    new["spec"].setdefault("conversion", {"strategy": "None"})
    new.update(custom_resources.with_status(new, taken))


def _namespace(new: JsonObject, old: JsonObject | None) -> None:
    meta = new["metadata"]
    meta.setdefault("labels", {})["kubernetes.io/metadata.name"] = meta["name"]
    if old is None:
        new.setdefault("spec", {})["finalizers"] = ["kubernetes"]
        new["status"] = {"phase": "Active"}
    else:
        new["spec"] = old.get("spec", {})


def _secret(new: JsonObject, old: JsonObject | None) -> None:
    plain = new.pop("stringData", None)
    if plain:
        data = new.setdefault("data", {})
        data.update({key: base64.b64encode(value.encode()).decode() for key, value in plain.items()})
    new.setdefault("type", "Opaque")


_RULES: dict[str, Rule] = {"/namespaces": _namespace, "/secrets": _secret}
