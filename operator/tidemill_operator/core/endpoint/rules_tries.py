"""Rules about tries that fail: when they are given up, what is given back, and when the next one is made."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tidemill_api.endpoint_conditions import EndpointCondition, EndpointReason
from tidemill_operator.core.endpoint.case import RevisionCase, Step, about_new
from tidemill_operator.core.endpoint.missing import given_up, missing
from tidemill_operator.core.endpoint.rules_serve import deploy
from tidemill_operator.core.endpoint.sizing import group_of, size_actions
from tidemill_operator.core.endpoint.warm import can_serve, warm_size
from tidemill_operator.core.plan import DeleteCluster, Event

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_api.v1alpha1.realtime_endpoint_status import StartupStatus
    from tidemill_operator.core.endpoint.plan import EndpointAction


def rejected(case: RevisionCase) -> Step | None:
    """The API server refused the cluster in this pass: say why, and try again later."""
    refused = case.seen.rejection
    if refused is None or case.view.cluster is not None:
        return None
    startup = case.waiting()
    message = f"{refused.message} {next_try(startup.retry_time)}"
    return Step(refused.reason, message, "False", startup=startup, recheck_after=case.until(startup.retry_time))


def awaiting_retry(case: RevisionCase) -> Step | None:
    """A try failed and the next is not due: nothing is paid for that cannot start. What serves goes on serving.

    Of a revision that was given up beside one that serves, replicas that still answer go too: they were told to.
    """
    retry = case.startup.retry_time
    if not case.wanted or retry is None or (case.running and not case.beside):
        return None
    if case.seen.now >= retry and not _still_leaving(case):
        return None
    reason, message = _said(case, retry)
    actions, replicas = _returned(case)
    again = max(case.until(retry), case.seen.tuning.poll)
    return Step(reason, message, "False", actions=actions, replicas=replicas, recheck_after=again)


def _returned(case: RevisionCase) -> tuple[tuple[EndpointAction, ...], int]:
    """What is given back until the next try, and the replicas that stay: none of them runs, or another revision serves.

    A cluster of a fixed size goes as a whole, and gives its quota back; not while Ray does not say what runs on it.
    """
    cluster = case.view.cluster
    if cluster is None or not cluster.fixed:
        return size_actions(case, group_of(case, 0)), 0
    if cluster.deleting:
        return (), 0
    if case.view.serve is None and not case.beside:
        return (), cluster.replicas
    return (DeleteCluster(cluster.name, cluster.uid),), 0


def _still_leaving(case: RevisionCase) -> bool:
    """Whether workers of the try that failed have not gone, and the next try has not begun.

    KubeRay makes no pod of a group while one that it deleted is there, and Serve keeps a replica on a draining node
    until it stands elsewhere: a try that began now would wait for the end of the drain, minutes long.
    """
    serve = case.view.serve
    begun = serve is None or serve.attempt >= case.startup.attempt
    return case.startup.waits > 0 and not begun and any(worker.deleting for worker in case.view.workers)


def _said(case: RevisionCase, retry: datetime) -> tuple[EndpointReason, str]:
    """What was said when the try failed: it stands in the condition until the next one."""
    said = next((c for c in case.status.conditions if c.type == EndpointCondition.PROGRESSING), None)
    known = [reason for reason in EndpointReason if said is not None and reason == said.reason]
    if said is None or not known or said.status != "False":
        return EndpointReason.REPLICAS_FAILING, next_try(retry)
    return known[0], said.message.removeprefix(about_new(case.view.revision))


def next_try(retry: datetime | None) -> str:
    """The last sentence about something that is tried again."""
    return f"Tried again at {retry:%Y-%m-%dT%H:%M:%SZ}." if retry else ""


def failing(case: RevisionCase) -> Step | None:
    """Serve gave up: its workers go, and it is tried again later.

    While any replica answers nothing is given back: a replica that died while others were loading is called the same.
    Only engines that nobody can reach are no use beside a revision that serves.
    """
    serve = case.view.serve
    if serve is None or not case.wanted or not serve.given_up or serve.attempt < case.startup.attempt:
        return None
    if case.running and (serve.ingress.running or not case.beside):
        return None
    reason, message = given_up(serve)
    return _give_back(case, reason, message)


def late(case: RevisionCase) -> Step | None:
    """A new revision was not ready in time, be it for its head: it is reported, its workers go, it is tried later."""
    if not case.beside or not case.wanted:
        return None
    deadline = timedelta(seconds=case.spec.upgrade.progress_deadline_seconds)
    begun = max(case.wanted_since, case.startup.retry_time or case.wanted_since)
    if case.seen.now < begun + deadline or can_serve(case):
        return None
    message = f"Not ready within {deadline} (upgrade.progressDeadlineSeconds): {missing(case, warm_size(case))}"
    return _give_back(case, EndpointReason.REVISION_LATE, message)


def _give_back(case: RevisionCase, reason: EndpointReason, message: str) -> Step:
    startup = case.failed()
    actions, replicas = _returned(case)
    step = Step(
        reason,
        f"{message.rstrip('.')}. {next_try(startup.retry_time)}",
        "False",
        actions=actions,
        startup=startup,
        replicas=replicas,
        recheck_after=case.until(startup.retry_time),
    )
    return step.told(_serves_on(case, message)) if case.beside else step


def _serves_on(case: RevisionCase, message: str) -> Event:
    text = f"Revision {case.view.revision} is not ready, {case.seen.serving} serves on: {message}"
    return Event("Warning", "RolloutFailed", text[:1000])


def try_again(case: RevisionCase) -> Step | None:
    """A new try is due: only a changed configuration makes Serve forget the tries that failed.

    Where replicas answer it is made beside their sizes (`rules_serve.tell`).
    """
    serve = case.view.serve
    if serve is None or not case.wanted or case.running or serve.attempt >= case.startup.attempt:
        return None
    return deploy(case, f"Attempt {case.startup.attempt} to start a replica.")


def tries_after(case: RevisionCase, *, all_answer: bool) -> StartupStatus:
    """The tries of a revision of which replicas answer: one more where Serve gave something up, none left once all do.

    Nothing is given back for it: the next try is made beside what answers.
    """
    serve = case.view.serve
    if serve is not None and serve.given_up:
        return case.failed() if serve.attempt >= case.startup.attempt else case.startup
    if case.running and all_answer:
        return case.startup.model_copy(update={"waits": 0, "retry_time": None})
    return case.startup
