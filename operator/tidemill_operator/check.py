"""`tidemill-operator check`: looks at an installation with the operator's own account, and says what is wrong with it.

What `helm test` runs, and a person too. Reads, and asks for its own rights; changes nothing.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tidemill_api.definitions import RESOURCES, crd
from tidemill_operator.cluster import ACCESS_REVIEWS, DEFINITIONS, LEASES, PODS, RAY_CLUSTERS, Cluster, Resource
from tidemill_operator.core.installation import Finding, Seen, judge_definition, judge_kuberay
from tidemill_operator.core.lease import LEASE_SECONDS
from tidemill_operator.credentials import load_configuration
from tidemill_operator.election import record_of
from tidemill_operator.errors import (
    ApiUnavailableError,
    ConfigError,
    KindMissingError,
    ObjectMissingError,
    OperatorError,
)
from tidemill_operator.handlers import OURS
from tidemill_operator.rights import Right, Where, rights

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tidemill_operator.config import Settings

    Json = dict[str, Any]

RAY_CLUSTER_DEFINITION = "rayclusters.ray.io"

ANSWER_SECONDS = 15.0
"""For the API server's first answer."""

LEASE_LOOKS = int(LEASE_SECONDS) + 5
"""Seconds, and looks, for the Lease to be renewed: an election after a leader was lost takes no longer."""


@dataclass(frozen=True)
class Installation:
    """What is checked: a cluster as this process reaches it, and the settings that the operator has."""

    cluster: Cluster
    settings: Settings
    namespaces: tuple[str, ...]


def check(kubeconfig: Path | None, settings: Settings, namespaces: tuple[str, ...]) -> int:
    """Prints one line for each finding; 0 where all is well, else 1."""
    return asyncio.run(_check(kubeconfig, settings, namespaces))


async def _check(kubeconfig: Path | None, settings: Settings, namespaces: tuple[str, ...]) -> int:
    wrong = 0
    try:
        cluster = Cluster(await load_configuration(kubeconfig))
    except ConfigError as error:
        _print(Finding("API server", False, str(error)))
        return 1
    try:
        async for finding in findings(Installation(cluster, settings, namespaces)):
            _print(finding)
            wrong += not finding.well
    finally:
        await cluster.close()
    return 1 if wrong else 0


def _print(finding: Finding) -> None:
    sys.stdout.write(f"{finding}\n")
    sys.stdout.flush()


async def findings(of: Installation) -> AsyncIterator[Finding]:
    """One after another; only the first where the API server does not answer."""
    reached = await _reached(of.cluster)
    yield reached
    if not reached.well:
        return
    for resource in RESOURCES:
        yield await _definition(of.cluster, crd(resource))
    yield await _kuberay(of)
    yield await _rights(of)
    yield await _lease(of)


async def _reached(cluster: Cluster) -> Finding:
    about = "API server"
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return Finding(about, True, f"it answers, {await cluster.version()}")
    except (ApiUnavailableError, TimeoutError) as error:
        said = str(error) or f"no answer within {ANSWER_SECONDS:.0f} s"
        return Finding(about, False, f"it cannot be reached ({said}); look at its address, the token and the network")
    except OperatorError as error:  # it answered
        return Finding(about, True, f"it answers, but not for its version ({error})")


async def _definition(cluster: Cluster, wanted: Json) -> Finding:
    try:
        return judge_definition(wanted, await _standing(cluster, wanted["metadata"]["name"]))
    except OperatorError as error:
        return Finding(f"CRD {wanted['metadata']['name']}", False, f"it cannot be looked at: {error}")


async def _kuberay(of: Installation) -> Finding:
    """Its CRD, and by the objects of the watched namespaces its operator."""
    try:
        standing = await _standing(of.cluster, RAY_CLUSTER_DEFINITION)
        clusters = await _ours(of, RAY_CLUSTERS) if standing is not None else ()
        pods = await _ours(of, PODS) if clusters else ()
        return judge_kuberay(standing, Seen(datetime.now(UTC), clusters, pods))
    except KindMissingError:
        return judge_kuberay(None, Seen(datetime.now(UTC)))
    except OperatorError as error:
        return Finding("KubeRay", False, f"it cannot be looked at: {error}")


async def _ours(of: Installation, resource: Resource) -> tuple[Json, ...]:
    places = of.namespaces or (None,)
    return tuple([body for place in places async for body in of.cluster.list_all(resource, place, OURS)])


async def _standing(cluster: Cluster, name: str) -> Json | None:
    try:
        return await cluster.get(DEFINITIONS, "", name)
    except (ObjectMissingError, KindMissingError):
        return None


async def _rights(of: Installation) -> Finding:
    """Each verb of each right, everywhere that it is needed."""
    asked = [
        (right, verb, namespace)
        for right in rights(of.settings, of.namespaces)
        for verb in right.verbs
        for namespace in _where(right, of)
    ]
    try:
        allowed = await asyncio.gather(*(_allowed(of, *one) for one in asked))
    except OperatorError as error:
        return Finding("rights", False, f"the API server does not say which there are: {error}")
    missing = [_say(*one) for one, has in zip(asked, allowed, strict=True) if not has]
    if missing:
        text = f"missing: {'; '.join(missing)}. The chart's roles give them (rbac.create=true)"
        return Finding("rights", False, text)
    return Finding("rights", True, f"all {len(asked)} that are needed are there")


def _where(right: Right, of: Installation) -> tuple[str, ...]:
    if right.where is Where.LEASE:
        return (of.settings.operator_namespace,)
    return of.namespaces or ("",) if right.where is Where.WATCHED else ("",)


async def _allowed(of: Installation, right: Right, verb: str, namespace: str) -> bool:
    resource, _, subresource = right.resource.partition("/")
    named = {"name": of.settings.lease_name} if right.where is Where.LEASE else {}
    attributes = {"group": right.group, "resource": resource, "subresource": subresource, "verb": verb}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": {**attributes, "namespace": namespace, **named}},
    }
    return bool(((await of.cluster.create(ACCESS_REVIEWS, review)).get("status") or {}).get("allowed"))


def _say(right: Right, verb: str, namespace: str) -> str:
    kind = f"{right.resource}.{right.group}" if right.group else right.resource
    where = f"in {namespace}" if namespace else "in the whole cluster"
    return f"{verb} {kind} {where} ({right.purpose})"


async def _lease(of: Installation) -> Finding:
    """Whether somebody holds it, and is seen to renew it."""
    namespace, name = of.settings.operator_namespace, of.settings.lease_name
    if not name:
        return Finding("leader", True, "no election: without TIDEMILL_LEASE_NAME this has to be the only operator")
    about, seen = f"Lease {namespace}/{name}", set()
    try:
        for _ in range(LEASE_LOOKS):
            record = record_of(await of.cluster.get(LEASES, namespace, name))
            seen |= {record} if record.holder else set()
            if len(seen) > 1 and record.holder:
                return Finding(about, True, f"held by {record.holder}, and renewed")
            await asyncio.sleep(1.0)
    except (ObjectMissingError, KindMissingError):
        return Finding(about, False, "it is not there, so no operator decides; helm upgrade the chart, which makes it")
    except OperatorError as error:
        return Finding(about, False, f"it cannot be read: {error}")
    if seen:
        text = f"held by {seen.pop().holder} and not renewed for {LEASE_LOOKS} s: no operator decides"
    else:
        text = f"nobody took it for {LEASE_LOOKS} s: no operator decides"
    return Finding(about, False, f"{text}; look at the pods of the operator and their logs")
