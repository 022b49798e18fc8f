"""Create, replace and patch: one pipeline from a client's document to a new revision.

Decoding and HTTP are the handlers' work. Every function runs without awaiting, so nothing comes between
reading an object and writing it back.
"""

from collections.abc import Callable

from devcluster.apiserver import admission, built_in_rules, object_meta, pod_admission
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import Cause, already_exists, bad_request, conflict, forbidden, invalid, not_found
from devcluster.apiserver.managed_fields import APPLY, UPDATE, Writer, track_update
from devcluster.apiserver.objects import JsonObject, clone, is_terminating, metadata
from devcluster.apiserver.requests import Target, WriteOptions
from devcluster.apiserver.schemas import node_of
from devcluster.apiserver.server_side_apply import Applied, created
from devcluster.apiserver.server_side_apply import apply as apply_config
from devcluster.apiserver.store import Entry, Key
from devcluster.apiserver.versions import shown, to_storage, to_version

Change = Callable[[JsonObject], JsonObject]


def existing(cluster: Cluster, target: Target) -> Entry:
    """Return the object a path names. Raises `StatusError` 404."""
    entry = cluster.store.get(target.key)
    if entry is None:
        raise not_found(target.resource.subject(target.name))
    return entry


def create(cluster: Cluster, target: Target, document: JsonObject, options: WriteOptions) -> JsonObject:
    """Store a new object and return it as shown to the client. Raises `StatusError`."""
    resource = target.resource
    object_meta.check_type(target, document)
    admission.check_metadata(resource, document)
    object_meta.check_place(target, document)
    object_meta.fill_new(target, document)
    if resource.status and resource.custom:
        document.pop("status", None)
    document = admission.admit(resource, document, options)
    built_in_rules.prepare(target, document, None)
    if resource.storage == "/pods":
        pod_admission.admit_pod(cluster, target, document)
    name = document["metadata"]["name"]
    if resource.storage not in _WITHOUT_GENERATION:
        document["metadata"]["generation"] = 1
    if not options.apply:
        document["metadata"].pop("managedFields", None)
        track_update(node_of(resource), _writer(target, options), None, document)
    causes = object_meta.validate(target, document, None) + admission.validate(target, document, None)
    if causes:
        raise invalid(resource.subject(name), causes)
    built_in_rules.complete(cluster, target, document)
    if options.guard is not None:
        options.guard.check_write(target, document, None)
    _check_namespace(cluster, target, name)
    pod_admission.judge_security(cluster, target, document, options)
    key = resource.key(target.namespace, name)
    if cluster.store.get(key) is not None:
        raise already_exists(resource.subject(name))
    if options.dry_run:
        return document
    return shown(resource, cluster.store.create(key, to_storage(resource, document)))


# Kinds that have no desired state to count generations of.
_WITHOUT_GENERATION = {
    "/namespaces", "/nodes", "/persistentvolumes", "/services", "/endpoints", "/secrets", "/configmaps", "/events",
    "/persistentvolumeclaims", "/serviceaccounts", "/resourcequotas", "/limitranges", "coordination.k8s.io/leases",
    "rbac.authorization.k8s.io/roles", "rbac.authorization.k8s.io/rolebindings",
    "rbac.authorization.k8s.io/clusterroles", "rbac.authorization.k8s.io/clusterrolebindings",
    "storage.k8s.io/storageclasses",
}  # fmt: skip


def _writer(target: Target, options: WriteOptions, operation: str = UPDATE) -> Writer:
    return Writer(options.field_manager, operation, target.resource.api_version, target.subresource)


def apply(cluster: Cluster, target: Target, config: JsonObject, options: WriteOptions) -> tuple[JsonObject, bool]:
    """Apply a manager's config server-side; returns the object and whether it is new. Raises `StatusError`."""
    resource = target.resource
    object_meta.check_type(target, config)
    admission.check_metadata(resource, config)
    object_meta.check_place(target, config)
    if metadata(config).get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    config = admission.admit_config(resource, config, options)
    node = node_of(resource)
    subject = resource.subject(target.name)
    applied = Applied(config, _writer(target, options, APPLY), subject, options.force)
    if cluster.store.get(target.key) is None:
        if target.subresource or metadata(config).get("uid"):
            raise not_found(subject)
        if options.guard is not None:
            options.guard.check_create(target)
        return create(cluster, target, created(node, applied), options), True
    return modify(cluster, target, lambda live: apply_config(node, live, applied), options), False


def _check_namespace(cluster: Cluster, target: Target, name: str) -> None:
    """Refuse a create in a namespace that is missing (404) or going away (403)."""
    if not target.resource.namespaced:
        return
    namespace = cluster.store.get(Key("/namespaces", "", target.namespace))
    if namespace is None:
        resource = cluster.registry.of_storage("/namespaces")
        assert resource is not None, "namespaces are built in"  # noqa: S101 - holds by the built-in table
        raise not_found(resource.subject(target.namespace))
    if is_terminating(namespace.document) and target.resource.storage != "/events":
        raise forbidden(
            target.resource.subject(name),
            f"unable to create new content in namespace {target.namespace} because it is being terminated",
        )


def replace(cluster: Cluster, target: Target, document: JsonObject, options: WriteOptions) -> JsonObject:
    """Put the client's document in the object's place. Raises `StatusError`."""
    object_meta.check_type(target, document)
    resource = target.resource
    if resource.custom and not metadata(document).get("resourceVersion"):
        message = "Invalid value: 0x0: must be specified for an update"
        cause = Cause("FieldValueInvalid", "metadata.resourceVersion", message)
        raise invalid(resource.subject(target.name), [cause])
    return modify(cluster, target, lambda _: document, options)


def modify(cluster: Cluster, target: Target, change: Change, options: WriteOptions) -> JsonObject:
    """Apply `change` to a copy of the current object and store the outcome. Raises `StatusError`."""
    resource = target.resource
    entry = existing(cluster, target)
    old = admission.as_read(resource, to_version(resource, entry.document))
    new = change(clone(old))
    object_meta.check_type(target, new)
    admission.check_metadata(resource, new)
    object_meta.check_place(target, new)
    object_meta.check_preconditions(target, old, new)
    new = _only_what_may_change(target, old, new)
    new = admission.admit(resource, new, options)
    object_meta.carry_over(old, new)
    if not target.subresource:
        built_in_rules.prepare(target, new, old)
    generation = object_meta.next_generation(resource.status, old, new)
    if generation is not None:
        new["metadata"]["generation"] = generation
    if not options.apply:
        track_update(node_of(resource), _writer(target, options), old, new)
    causes = object_meta.validate(target, new, old) + admission.validate(target, new, old)
    if not target.subresource:
        causes += built_in_rules.immutable_causes(target, new, old)
    if causes:
        raise invalid(resource.subject(target.name), causes)
    if not target.subresource:
        built_in_rules.complete(cluster, target, new)
    if options.guard is not None:
        options.guard.check_write(target, new, old)
    if resource.storage != "/pods":
        pod_admission.judge_security(cluster, target, new, options)
    return _store_change(cluster, target, entry, new, options)


# Status writes of these kinds may change labels and annotations too, as a kubelet does.
_STATUS_WITH_METADATA = {"/pods", "/nodes"}


def _only_what_may_change(target: Target, old: JsonObject, new: JsonObject) -> JsonObject:
    """Limit a write to its part of the object: status through `/status`, all but status otherwise."""
    resource = target.resource
    if target.subresource == "status":
        if resource.storage in _STATUS_WITH_METADATA:
            kept = {**new["metadata"], "ownerReferences": metadata(old).get("ownerReferences")}
        else:
            kept = {**metadata(old), "managedFields": metadata(new).get("managedFields")}
        result = {**old, "metadata": {field: value for field, value in kept.items() if value is not None}}
        result.pop("status", None)
        return result | ({"status": new["status"]} if "status" in new else {})
    if resource.status and not target.subresource:
        new = {field: value for field, value in new.items() if field != "status"}
        return new | ({"status": clone(old["status"])} if "status" in old else {})
    return new


def _store_change(cluster: Cluster, target: Target, entry: Entry, new: JsonObject, options: WriteOptions) -> JsonObject:
    resource = target.resource
    stored = to_storage(resource, new)
    current = cluster.store.get(entry.key)
    if current is not entry:
        raise conflict(resource.subject(target.name))
    if stored == entry.document or options.dry_run:
        return new
    if may_vanish(stored):
        return shown(resource, cluster.store.delete(entry.key, stored))
    return shown(resource, cluster.store.update(entry.key, stored))


def may_vanish(document: JsonObject) -> bool:
    """Tell whether nothing holds a terminating object back any more: no finalizer and no grace period."""
    meta = metadata(document)
    return (
        is_terminating(document)
        and not meta.get("finalizers")
        and not meta.get("deletionGracePeriodSeconds")
        and not (document.get("kind") == "Namespace" and document.get("spec", {}).get("finalizers"))
    )
