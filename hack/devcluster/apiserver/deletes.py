"""Delete and deletecollection: grace periods, finalizers, propagation and preconditions.

After k8s.io/apiserver/pkg/registry/rest/delete.go and registry/generic/registry/store.go. What depends on a deleted
object is the garbage collector's work (`garbage_collection`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import bad_request, conflict, forbidden
from devcluster.apiserver.objects import JsonObject, clone, format_time, is_terminating, metadata
from devcluster.apiserver.requests import Target
from devcluster.apiserver.store import Entry
from devcluster.apiserver.versions import shown, to_version
from devcluster.apiserver.writes import existing, may_vanish

FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"
_POLICIES = ("Background", "Foreground", "Orphan")
# Namespaces the cluster cannot do without.
_PROTECTED_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_CRD_STORAGE = "apiextensions.k8s.io/customresourcedefinitions"
CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"


@dataclass(frozen=True)
class DeleteOptions:
    """How to delete; None means the kind's default. `uid` and `revision` are preconditions, empty for none."""

    grace_seconds: int | None = None
    propagation: str = ""
    uid: str = ""
    revision: str = ""
    dry_run: bool = False


def parse_delete_options(body: JsonObject, query: dict[str, str]) -> DeleteOptions:
    """Read `DeleteOptions` from the body, with the query's values going first. Raises `StatusError` 400."""
    grace = query.get("gracePeriodSeconds", body.get("gracePeriodSeconds"))
    policy = query.get("propagationPolicy") or body.get("propagationPolicy") or ""
    orphan = query.get("orphanDependents", body.get("orphanDependents"))
    if orphan is not None and not policy:
        policy = "Orphan" if str(orphan).lower() == "true" else "Background"
    if policy and policy not in _POLICIES:
        raise bad_request(
            f'invalid DeleteOptions: propagationPolicy: Invalid value: "{policy}": must be one of {_POLICIES}'
        )
    preconditions = body.get("preconditions") or {}
    try:
        grace_seconds = None if grace is None else int(grace)
    except ValueError as error:
        raise bad_request(f'invalid DeleteOptions: gracePeriodSeconds: Invalid value: "{grace}"') from error
    return DeleteOptions(
        grace_seconds=grace_seconds,
        propagation=policy,
        uid=preconditions.get("uid") or "",
        revision=preconditions.get("resourceVersion") or "",
        dry_run=bool(query.get("dryRun") or body.get("dryRun")),
    )


def delete(cluster: Cluster, target: Target, options: DeleteOptions) -> tuple[JsonObject, bool]:
    """Begin or finish a deletion; returns the object and whether it is gone. Raises `StatusError`."""
    entry = existing(cluster, target)
    resource = target.resource
    document = to_version(resource, entry.document)
    _check(target, document, options)
    grace = _grace_seconds(document, options)
    finalizers = _finalizers(resource.storage, document, options)
    new = _marked(document, grace, finalizers)
    if new == document:
        return document, False
    if options.dry_run:
        return new, may_vanish(new)
    if may_vanish(new):
        # An object that goes at once never shows a deletionTimestamp, unless it had begun to go before.
        final = new if is_terminating(document) else document
        return shown(resource, _remove(cluster, entry, final)), True
    return shown(resource, cluster.store.update(entry.key, {**new, "apiVersion": entry.document["apiVersion"]})), False


def _remove(cluster: Cluster, entry: Entry, final: JsonObject) -> Entry:
    return cluster.store.delete(entry.key, {**final, "apiVersion": entry.document["apiVersion"]})


def _check(target: Target, document: JsonObject, options: DeleteOptions) -> None:
    meta = metadata(document)
    subject = target.resource.subject(target.name)
    for what, wanted, found in (
        ("UID", options.uid, meta.get("uid")),
        ("ResourceVersion", options.revision, meta.get("resourceVersion")),
    ):
        if wanted and wanted != found:
            raise conflict(
                subject, f"Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
            )
    if target.resource.storage == "/namespaces" and target.name in _PROTECTED_NAMESPACES:
        raise forbidden(subject, "this namespace may not be deleted")


def _grace_seconds(document: JsonObject, options: DeleteOptions) -> int:
    """Return the seconds a Pod has left to end by itself; other kinds have none."""
    if document.get("kind") != "Pod" or document.get("apiVersion") != "v1":
        return 0
    spec, status = document.get("spec", {}), document.get("status", {})
    if not spec.get("nodeName") or status.get("phase") in ("Succeeded", "Failed"):
        return 0
    if options.grace_seconds is not None:
        return max(options.grace_seconds, 0)
    return int(spec.get("terminationGracePeriodSeconds", 30))


def _finalizers(storage: str, document: JsonObject, options: DeleteOptions) -> list[str]:
    """Return the finalizers after propagation has had its say."""
    finalizers = [f for f in metadata(document).get("finalizers") or [] if isinstance(f, str)]
    if options.propagation:
        finalizers = [f for f in finalizers if f not in (FOREGROUND_FINALIZER, ORPHAN_FINALIZER)]
    if options.propagation == "Foreground":
        finalizers.append(FOREGROUND_FINALIZER)
    elif options.propagation == "Orphan":
        finalizers.append(ORPHAN_FINALIZER)
    if storage == _CRD_STORAGE and not is_terminating(document) and CRD_FINALIZER not in finalizers:
        finalizers.append(CRD_FINALIZER)
    return finalizers


def _marked(document: JsonObject, grace: int, finalizers: list[str]) -> JsonObject:
    """Return the object with its deletion begun, or its grace period cut short."""
    new: JsonObject = clone(document)
    meta = new["metadata"]
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    if is_terminating(document):
        if grace >= meta.get("deletionGracePeriodSeconds", 0):
            return new
    elif "generation" in meta:
        meta["generation"] += 1
    meta["deletionTimestamp"] = format_time(datetime.now(UTC) + timedelta(seconds=grace))
    meta["deletionGracePeriodSeconds"] = grace
    if new.get("kind") == "Namespace" and new.get("apiVersion") == "v1":
        new["status"] = {**new.get("status", {}), "phase": "Terminating"}
    return new
