"""Rules about what Serve is told to run on one revision, as long as it knows nothing of it or something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_operator.core.endpoint.case import RevisionCase, Step
from tidemill_operator.core.endpoint.plan import Deploy
from tidemill_operator.core.endpoint.sizing import HEAD_INGRESS
from tidemill_operator.core.endpoint.warm import warm_size

if TYPE_CHECKING:
    from tidemill_api.endpoint_contract import IngressSettings


def not_deployed(case: RevisionCase) -> Step | None:
    """Serve knows nothing of us: a new head, or one that lost its memory. Tell it what to run."""
    serve = case.view.serve
    if serve is None or serve.deployed or serve.failed:
        return None
    return deploy(case, "Serve is told what to run.")


def building(case: RevisionCase) -> Step | None:
    """Serve makes the application: there is nothing yet that could be scaled."""
    serve = case.view.serve
    if serve is None or serve.built or not serve.deployed or serve.failed:
        return None
    return Step(EndpointReason.DEPLOYING, "Serve builds the application.", recheck_after=case.seen.tuning.start_poll)


def settings_outdated(case: RevisionCase) -> Step | None:
    """The spec says something else about what the ingress may be told without a restart."""
    serve, settings = case.view.serve, case.seen.settings
    if serve is None or settings is None or not case.wanted or serve.settings == settings:
        return None
    return deploy_again(case, settings, max(serve.attempt, 1), "The ingress is told its new limits.")


def deploy(case: RevisionCase, message: str) -> Step:
    """Tell Serve what to run, with as many replicas as there are to be."""
    settings, cluster = case.seen.settings, case.view.cluster
    if settings is None or cluster is None:
        raise ValueError(f"revision {case.view.revision} has nothing to deploy to or with")
    size = warm_size(case) if not case.serves else cluster.replicas
    counts = max(size, 1), HEAD_INGRESS + size
    return _told(case, Deploy(case.view.revision, cluster.head_ip, *counts, settings, case.startup.attempt), message)


def deploy_again(case: RevisionCase, settings: IngressSettings, attempt: int, message: str) -> Step:
    """Tell Serve something else of what it runs, with the counts that it has: it is to stop nothing for it."""
    serve, cluster = case.view.serve, case.view.cluster
    if serve is None or cluster is None:
        raise ValueError(f"revision {case.view.revision} runs nothing that could be told anything")
    counts = max(serve.engine.target, 1), max(serve.ingress.target, 1)
    return _told(case, Deploy(case.view.revision, cluster.head_ip, *counts, settings, attempt), message)


def _told(case: RevisionCase, told: Deploy, message: str) -> Step:
    return Step(EndpointReason.DEPLOYING, message, actions=(told,), recheck_after=case.seen.tuning.start_poll)
