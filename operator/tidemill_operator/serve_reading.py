"""What Serve says of our application (GET /api/serve/applications/), read into values. Pure reading, no I/O.

The answer comes from a pod that runs its user's image: a part that has not the shape of Serve's counts as not there.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tidemill_api.endpoint_contract import (
    APPLICATION,
    ENGINE_DEPLOYMENT,
    INGRESS_DEPLOYMENT,
    EngineSettings,
    IngressSettings,
)
from tidemill_api.v1alpha1.uris import without_signatures
from tidemill_operator.core.endpoint.snapshot import DEPLOY_FAILED, DeploymentView, ReplicaView, ServeView

if TYPE_CHECKING:
    from pydantic import BaseModel

    Json = dict[str, Any]

LATEST_SECONDS = 1 << 33
"""Seconds since 1970 (the year 2242): a later moment is none."""

MOST_REPLICAS = 1_000_000
"""A greater number is no count of replicas."""

MOST_CHARACTERS = 64 * 1024
"""Of a message of Serve's: it names the cause at its end."""

FIRST_CHARACTERS = 64
"""What is kept of the beginning of a longer one, where Serve says what became of the replica."""

GONE = frozenset({"NOT_STARTED", "DELETING"})
"""States of an application that is not, or no more."""


def read_serve(details: Json) -> ServeView:
    """Our application as Serve reports it.

    Judged by its deployments' replicas: the application's own state is RUNNING while most of them wait for a node.
    """
    application = _application(details)
    status = str(application.get("status", ""))
    if not application or status in GONE:
        return ServeView(deployed=False)
    deployments = _object(application.get("deployments"))
    told = _told(application)
    settings = _parsed(IngressSettings, told.get(INGRESS_DEPLOYMENT))
    attempt = _parsed(EngineSettings, told.get(ENGINE_DEPLOYMENT))
    message = _message(application) or "it does not say why"
    return ServeView(
        deployed=True,
        built=INGRESS_DEPLOYMENT in deployments and ENGINE_DEPLOYMENT in deployments,
        failed=message if _not_built(status, deployments) else "",
        ingress=_deployment(_object(deployments.get(INGRESS_DEPLOYMENT)), status),
        engine=_deployment(_object(deployments.get(ENGINE_DEPLOYMENT)), status),
        settings=settings.model_copy(update={"attempt": 1}) if isinstance(settings, IngressSettings) else None,
        attempt=attempt.attempt if isinstance(attempt, EngineSettings) else 0,
        told_time=_time(application.get("last_deployed_time_s")),
    )


def arguments_of(details: Json) -> Json | None:
    """The arguments that the application was built with; None where there is none."""
    arguments = _object(_application(details).get("deployed_app_config")).get("args")
    return arguments if isinstance(arguments, dict) and arguments else None


def _application(details: Json) -> Json:
    return _object(_object(details.get("applications")).get(APPLICATION))


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> tuple[Json, ...]:
    return tuple(one for one in value if isinstance(one, dict)) if isinstance(value, list) else ()


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value <= MOST_REPLICAS else 0


def _time(seconds: Any) -> datetime | None:
    """Seconds since 1970 as a moment; None where there are none."""
    known = isinstance(seconds, int | float) and 0 < seconds < LATEST_SECONDS
    return datetime.fromtimestamp(seconds, UTC) if known else None


def _not_built(status: str, deployments: Json) -> bool:
    """Whether the application itself could not be made; an engine that fails is its deployment's affair."""
    return status == DEPLOY_FAILED and not any(_object(d).get("status") == DEPLOY_FAILED for d in deployments.values())


def _told(application: Json) -> dict[str, Any]:
    """The user_config of each deployment as it was PUT last."""
    config = _object(application.get("deployed_app_config"))
    return {str(d.get("name", "")): d.get("user_config") for d in _objects(config.get("deployments"))}


def _parsed(model: type[BaseModel], value: Any) -> BaseModel | None:
    """What another operator's version told may not be readable: then it counts as not told."""
    try:
        return model.model_validate(value)
    except ValidationError:
        return None


def _deployment(details: Json, status: str) -> DeploymentView:
    """A deployment. For a moment after a PUT it still says what came of the configuration before.

    Only the application's own state (`status`), which the PUT sets at once, tells the two apart.
    """
    stale = details.get("status") == DEPLOY_FAILED and status != DEPLOY_FAILED
    replicas = tuple(
        ReplicaView(str(r.get("replica_id", "")), str(r.get("state", "")), str(r.get("node_ip") or ""))
        for r in _objects(details.get("replicas"))
    )
    return DeploymentView(
        target=_count(details.get("target_num_replicas")),
        replicas=replicas,
        status="" if stale else str(details.get("status", "")),
        message="" if stale else _message(details),
    )


def _message(details: Json) -> str:
    """What Serve says of it, without secrets. Of one that is too long, its first words and the whole lines at its end.

    No URL is cut: half of one would not be known as such.
    """
    text = str(details.get("message") or "")
    if len(text) > MOST_CHARACTERS:
        first, last = text[:FIRST_CHARACTERS].rpartition(" ")[0], text[-MOST_CHARACTERS:].partition("\n")[2]
        text = f"{first}\n{last}"
    return without_signatures(text)
