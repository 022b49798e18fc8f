"""Rules about one revision once Serve answers: what it is told to run, and how many of it."""

from __future__ import annotations

from datetime import timedelta

from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_api.endpoint_contract import EngineProblem
from tidemill_operator.core.endpoint.case import RevisionCase, Step
from tidemill_operator.core.endpoint.plan import Deploy
from tidemill_operator.core.endpoint.rules_cluster import next_try, pod_trouble, warm_size
from tidemill_operator.core.endpoint.sizing import (
    HEAD_INGRESS,
    group_of,
    scaled_event,
    scaling_after,
    size_actions,
    sized_by_law,
)
from tidemill_operator.core.endpoint.snapshot import DEPLOY_FAILED
from tidemill_operator.core.plan import Event

AWAITED = frozenset({EndpointReason.INSUFFICIENT_CAPACITY, EndpointReason.PODS_FAILING})
"""What missing replicas wait for, where it is known: somebody else has to do something."""

MAX_PROBLEM = 1500
"""Characters of an engine's own words in a condition."""


def not_deployed(case: RevisionCase) -> Step | None:
    """Serve knows nothing of us: a new head, or one that lost its memory. Tell it what to run."""
    serve = case.view.serve
    if serve is None or serve.deployed or serve.failed:
        return None
    return _deploy(case, "Serve is told what to run.")


def _deploy(case: RevisionCase, message: str) -> Step:
    cluster, settings = case.view.cluster, case.seen.settings
    if cluster is None or settings is None:
        raise ValueError(f"revision {case.view.revision} has nothing to deploy to or with")
    size = warm_size(case) if not case.serves else cluster.replicas
    attempt = case.startup.attempt
    told = Deploy(case.view.revision, cluster.head_ip, max(size, 1), HEAD_INGRESS + size, settings, attempt)
    return Step(EndpointReason.DEPLOYING, message, actions=(told,), recheck_after=case.seen.tuning.start_poll)


def engine_failing(case: RevisionCase) -> Step | None:
    """Serve gave up: no replica of this revision ever started. Its workers go, and it is tried again later.

    While any replica answers nothing is given back, whatever else is said.
    """
    serve = case.view.serve
    if serve is None or not case.wanted or serve.engine.running or serve.attempt < case.startup.attempt:
        return None
    if serve.engine.status != DEPLOY_FAILED and not serve.failed:
        return None
    reason, message = _problem(serve.failed or serve.engine.message)
    return _give_back(case, reason, message)


def _problem(text: str) -> tuple[EndpointReason, str]:
    problem = EngineProblem.from_text(text)
    if problem is not None:
        return problem.reason, problem.message[:MAX_PROBLEM]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = lines[-1] if lines else "it did not say why"
    return EndpointReason.REPLICAS_FAILING, f"No replica starts: {last[-MAX_PROBLEM:]}"


def _give_back(case: RevisionCase, reason: EndpointReason, message: str) -> Step:
    startup = case.failed()
    step = Step(
        reason,
        f"{message} {next_try(startup.retry_time)}",
        "False",
        actions=size_actions(case, group_of(case, 0)),
        startup=startup,
        replicas=0,
        recheck_after=case.until(startup.retry_time),
    )
    return step if case.serves or not case.seen.serving else step.told(_serves_on(case, message))


def _serves_on(case: RevisionCase, message: str) -> Event:
    text = f"Revision {case.view.revision} is not ready, {case.seen.serving} serves on: {message}"
    return Event("Warning", "RolloutFailed", text[:1000])


def try_again(case: RevisionCase) -> Step | None:
    """A new try is due: only a changed configuration makes Serve forget the tries that failed."""
    serve = case.view.serve
    if serve is None or not case.wanted or serve.attempt >= case.startup.attempt or serve.engine.running:
        return None
    return _deploy(case, f"Attempt {case.startup.attempt} to start a replica.")


def building(case: RevisionCase) -> Step | None:
    """Serve makes the application: there is nothing yet that could be scaled."""
    serve = case.view.serve
    if serve is None or serve.built or not serve.deployed or serve.failed:
        return None
    return Step(EndpointReason.DEPLOYING, "Serve builds the application.", recheck_after=case.seen.tuning.start_poll)


def settings_outdated(case: RevisionCase) -> Step | None:
    """The spec says something else about what the ingress may be told without a restart."""
    serve, settings, cluster = case.view.serve, case.seen.settings, case.view.cluster
    if serve is None or settings is None or cluster is None or not case.wanted or serve.settings == settings:
        return None
    counts = max(serve.engine.target, 1), max(serve.ingress.target, 1)
    told = Deploy(case.view.revision, cluster.head_ip, *counts, settings, max(serve.attempt, 1))
    return Step(
        EndpointReason.DEPLOYING,
        "The ingress is told its new limits.",
        actions=(told,),
        recheck_after=case.seen.tuning.start_poll,
    )


def late(case: RevisionCase) -> Step | None:
    """A new revision was not ready in time: it is reported, its workers go, and it is tried again later."""
    if case.serves or not case.seen.serving or not case.wanted:
        return None
    deadline = timedelta(seconds=case.spec.upgrade.progress_deadline_seconds)
    begun = max(case.wanted_since, case.startup.retry_time or case.wanted_since)
    if case.seen.now < begun + deadline or _running(case) >= warm_size(case):
        return None
    message = f"Not ready within {deadline} (upgrade.progressDeadlineSeconds): {_missing(case, warm_size(case))}"
    return _give_back(case, EndpointReason.REVISION_LATE, message)


def warming(case: RevisionCase) -> Step | None:
    """A revision that does not serve yet gets its replicas; warm once they all answer.

    The first revision of an endpoint serves with its first replica: where nothing answers, some are better than none.
    """
    if case.serves:
        return None
    size = warm_size(case)
    scale = group_of(case, size)
    actions = size_actions(case, scale)
    if _running(case) >= size:
        reason, message = EndpointReason.SETTLED, "All replicas answer."
    else:
        reason, message = _why_missing(case), _missing(case, size)
    return Step(
        reason,
        message,
        "False" if reason in AWAITED else "True",
        actions=actions,
        replicas=size,
        warm=_running(case) >= (size if case.seen.serving else 1),
        recheck_after=case.seen.tuning.poll,
    )


def serving(case: RevisionCase) -> Step | None:
    """The revision that serves has as many replicas as the scaling law says."""
    sized = sized_by_law(case)
    scale = group_of(case, sized.replicas)
    running = _running(case)
    leaving = _leaving(case)
    if running < scale.replicas:
        reason, message = _why_missing(case), _missing(case, scale.replicas)
    elif leaving or running > scale.replicas:
        reason, message = EndpointReason.SCALING_DOWN, f"{max(leaving, running - scale.replicas)} replicas are leaving."
    else:
        reason, message = EndpointReason.SETTLED, f"{running} replicas answer, as many as are needed."
    healed = case.startup.model_copy(update={"waits": 0, "retry_time": None}) if running else None
    step = Step(
        reason,
        message,
        "False" if reason is EndpointReason.SETTLED or reason in AWAITED else "True",
        actions=size_actions(case, scale),
        startup=healed if case.wanted else None,
        scaling=scaling_after(case, sized, scale),
        replicas=scale.replicas,
        warm=running >= scale.replicas,
        recheck_after=case.seen.tuning.poll,
    )
    event = scaled_event(case, sized, scale)
    return step.told(event) if event is not None else step


def _leaving(case: RevisionCase) -> int:
    """Pods that go, told already or only named: KubeRay tells none while another of its group is on its way out."""
    named = case.view.cluster.workers_to_delete if case.view.cluster is not None else ()
    return sum(worker.deleting or worker.name in named for worker in case.view.workers)


def _running(case: RevisionCase) -> int:
    return len(case.view.serve.engine.running) if case.view.serve is not None else 0


def _missing(case: RevisionCase, size: int) -> str:
    """How many replicas answer of how many, and what is known of why not more."""
    text = f"{_running(case)} of {size} replicas answer."
    cluster, serve = case.view.cluster, case.view.serve
    if cluster is not None and cluster.worker_problem:
        return f"{text} {cluster.worker_problem.rstrip('.')}. {pod_trouble(cluster, 'resources')[1]}"
    if serve is not None and serve.engine.message and EngineProblem.from_text(serve.engine.message):
        return f"{text} {_problem(serve.engine.message)[1]}"
    return text


def _why_missing(case: RevisionCase) -> EndpointReason:
    """What missing replicas are called: on their way, or kept from it by the cluster."""
    cluster = case.view.cluster
    if cluster is None or not cluster.worker_problem:
        return EndpointReason.REPLICAS_STARTING
    return pod_trouble(cluster, "resources")[0]
