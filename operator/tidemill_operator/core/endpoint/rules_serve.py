"""Rules about what Serve is told to run on one revision, as long as it knows nothing of it or something else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_api.endpoint_contract import ENGINE_DEPLOYMENT, INGRESS_DEPLOYMENT
from tidemill_operator.core.backoff import backoff
from tidemill_operator.core.endpoint.case import RevisionCase, Step
from tidemill_operator.core.endpoint.plan import Deploy, ScaleServe
from tidemill_operator.core.endpoint.sizing import HEAD_INGRESS
from tidemill_operator.core.endpoint.warm import warm_size

if TYPE_CHECKING:
    from tidemill_operator.core.endpoint.snapshot import ServeView


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


def deploy(case: RevisionCase, message: str) -> Step:
    """Tell Serve what to run, with as many replicas as there are to be."""
    settings, cluster = case.seen.settings, case.view.cluster
    if settings is None or cluster is None:
        raise ValueError(f"revision {case.view.revision} has nothing to deploy to or with")
    size = warm_size(case) if not case.serves else cluster.replicas
    counts = max(size, 1), HEAD_INGRESS + size
    told = Deploy(case.view.revision, cluster.head_ip, *counts, settings, case.startup.attempt)
    return Step(EndpointReason.DEPLOYING, message, actions=(told,), recheck_after=case.seen.tuning.start_poll)


def tell(case: RevisionCase, step: Step) -> Step:
    """The step, and behind its sizes a PUT where Serve is to be told anything else. One that fails holds no size up.

    Told are new limits of the ingress, which needs no restart for them, and another attempt at what Serve gave up.
    """
    serve, cluster = case.view.serve, case.view.cluster
    if serve is None or cluster is None or not (case.wanted or serve.given_up):
        return step
    known = serve.settings
    settings = case.seen.settings if case.wanted or known is None else known
    attempt = _due_attempt(case, serve)
    if settings is None or (settings == known and attempt == serve.attempt):
        return step
    sizes = {action.deployment: action.replicas for action in step.actions if isinstance(action, ScaleServe)}
    engines = sizes.get(ENGINE_DEPLOYMENT, serve.engine.target)
    ingresses = sizes.get(INGRESS_DEPLOYMENT, serve.ingress.target)
    counts = max(engines, 1), max(ingresses, 1)
    put = Deploy(case.view.revision, cluster.head_ip, *counts, settings, max(attempt, 1))
    told = replace(step, actions=(*step.actions, put), warm=False, recheck_after=case.seen.tuning.start_poll)
    if step.reason is not EndpointReason.SETTLED:
        return told
    return replace(told, reason=EndpointReason.DEPLOYING, message="Serve is told its new settings.", progressing="True")


def _due_attempt(case: RevisionCase, serve: ServeView) -> int:
    """The number of the attempt that Serve is to make now: the one that it makes, or a new one at what it gave up.

    The status counts the tries of the wanted revision. Another one that serves is tried again too, since nobody else
    answers requests: after a wait that grows with its tries and counts from the last one, so that the first try after
    a time of health is made at once.
    """
    if not serve.given_up:
        return serve.attempt
    if not case.wanted:
        tuning = case.seen.tuning
        wait = backoff(serve.attempt, tuning.backoff_min, tuning.backoff_max)
        waited = serve.told_time is None or case.seen.now >= serve.told_time + wait
        return serve.attempt + 1 if waited else serve.attempt
    due = case.startup.retry_time
    return max(case.startup.attempt, serve.attempt) if due is None or case.seen.now >= due else serve.attempt
