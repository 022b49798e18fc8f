"""Each alert on recorded series, by the real promtool: when it fires, when it does not, and that no other does."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from alert_recording import ENDPOINT, JOB, RULES, START, body, firing, operator_with, record, scrape
from metric_names import every_series

from tidemill_api.conditions import Reason
from tidemill_operator.core.endpoint.law import Law
from tidemill_operator.core.endpoint.load import Load
from tidemill_operator.core.endpoint.rates import Rates
from tidemill_operator.core.endpoint.status import queue
from tidemill_operator.core.window_risk import REASONS

SPEC = {"completionWindow": "15m", "targetCompletion": "5m", "workers": {"max": 4}}
ROWS = {"rows": {"total": 100, "remaining": 40}, "workers": {"desired": 2, "ready": 2}}
HEALTHY = {"health": "Healthy", "reason": "WithinTarget", "depth": 40}
TICKETS = "tickets"

RUNBOOKS = RULES.parents[1] / "runbooks"


def job(**status):
    return body(TICKETS, SPEC, {**ROWS, "queue": HEALTHY, **status})


def jobs_alone(second, **status):
    return scrape(operator_with(jobs=[job(**status)]), second)


def condition(kind, status, reason):
    return {"conditions": [{"type": kind, "status": status, "reason": reason}]}


def test_a_job_warns_at_twice_its_target_is_critical_at_thrice_and_silent_soon_after_it_has_ended(tmp_path):
    ended = {"completionTime": "2026-01-01T12:17:00Z"}
    recording = record(1200, lambda second: jobs_alone(second, **(ended if second >= 1020 else {})))
    warning, critical = ("TidemillJobQueueWarning", TICKETS), ("TidemillJobQueueCritical", TICKETS)
    both = {warning, critical}
    expected = {585: set(), 600: {warning}, 885: {warning}, 900: both, 1125: both, 1140: set(), 1200: set()}
    firing(recording, expected, tmp_path)


def test_a_job_that_runs_as_planned_alerts_nobody(tmp_path):
    planned = {"startTime": "2026-01-01T12:10:00Z", "finishTime": "2026-01-01T12:14:30Z"}

    def world(second):
        done = {"completionTime": "2026-01-01T12:14:00Z"} if second >= 840 else {}
        return jobs_alone(second, planned=planned, **done)

    firing(record(900, world), {second: set() for second in range(0, 900, 60)}, tmp_path)


def test_a_source_that_dies_for_a_minute_fires_its_own_alert_and_no_other(tmp_path):
    missing = condition("Progressing", "True", "FiguresMissing")
    recording = record(300, lambda second: jobs_alone(second, **(missing if 120 <= second < 180 else {})))
    expected = {105: set(), 120: set(), 165: {("TidemillSourceMissing", TICKETS)}, 180: set(), 300: set()}
    firing(recording, expected, tmp_path)


def test_a_head_that_does_not_answer_is_a_source_that_is_missing(tmp_path):
    silent = condition("Progressing", "Unknown", "RayUnreachable")
    firing(
        record(60, lambda second: jobs_alone(second, **silent)), {60: {("TidemillSourceMissing", TICKETS)}}, tmp_path
    )


def test_one_look_without_figures_alerts_nobody(tmp_path):
    missing = {"queue": {"health": "Healthy", "reason": "SourceMissing"}}
    recording = record(120, lambda second: jobs_alone(second, **(missing if second == 60 else {})))
    firing(recording, {second: set() for second in range(0, 120, 15)}, tmp_path)


def test_a_late_job_whose_source_is_missing_is_still_late(tmp_path):
    missing = {"queue": {"health": "Warning", "reason": "SourceMissing"}}
    both = {("TidemillJobQueueWarning", TICKETS), ("TidemillSourceMissing", TICKETS)}
    firing(record(660, lambda second: jobs_alone(second, **missing)), {660: both}, tmp_path)


def endpoint(ratio, ready, reason="WithinTarget", depth=9):
    queue = {"depth": depth, "oldestAgeSeconds": 5, "ageRatio": f"{ratio:.2f}", "health": "Healthy", "reason": reason}
    status = {"queue": queue, "replicas": 2, "readyReplicas": ready}
    return operator_with(endpoints=[body("chat", {"replicas": {"max": 2}}, status)])


AGE_WARNING, AGE_CRITICAL = ("TidemillEndpointQueueAgeWarning", "chat"), ("TidemillEndpointQueueAgeCritical", "chat")


def test_an_endpoint_warns_after_a_minute_at_twice_its_target_age_and_is_critical_at_thrice(tmp_path):
    ratios = {0: 1.9, 120: 2.1, 240: 3.4, 360: 0.5}

    def world(second):
        return scrape(endpoint(ratios[max(since for since in ratios if since <= second)], ready=2), second)

    both = {AGE_WARNING, AGE_CRITICAL}
    expected = {165: set(), 180: {AGE_WARNING}, 285: {AGE_WARNING}, 300: both, 465: both, 480: set(), 540: set()}
    firing(record(540, world), expected, tmp_path)


def test_a_burst_that_is_over_within_the_minute_alerts_nobody(tmp_path):
    recording = record(300, lambda second: scrape(endpoint(5.0 if 60 <= second < 105 else 0.2, ready=1), second))
    firing(recording, {second: set() for second in range(0, 300, 15)}, tmp_path)


def test_an_endpoint_that_wakes_alerts_nobody_and_one_that_does_not_wake_does(tmp_path):
    recording = record(900, lambda second: scrape(endpoint(9.0 if second >= 60 else 0.0, ready=0), second))
    expected = {60: set(), 300: set(), 645: set(), 675: {("TidemillEndpointNotWaking", "chat")}}
    firing(recording, expected, tmp_path)
    awake = record(
        900, lambda second: scrape(endpoint(9.0 if 60 <= second < 360 else 0.1, ready=int(second >= 360)), second)
    )
    firing(awake, {second: set() for second in range(0, 900, 60)}, tmp_path)


def test_a_queue_that_never_clears_says_so_after_two_minutes(tmp_path):
    reasons = {True: "NeverClears", False: "WithinTarget"}
    recording = record(300, lambda second: scrape(endpoint(1.0, 2, reasons[second < 240]), second))
    firing(recording, {105: set(), 120: {("TidemillQueueNeverClears", "chat")}, 240: set()}, tmp_path)


@pytest.mark.parametrize(
    ("ready", "ratio", "growth", "alerts"),
    [(2, 1.2, 1, True), (1, 1.2, 1, False), (2, 0.9, 1, False), (2, 1.2, 0, False)],
)
def test_a_queue_that_grows_although_every_replica_works_never_clears(tmp_path, ready, ratio, growth, alerts):
    def world(second):
        return scrape(endpoint(ratio, ready, depth=40 + growth * second // 15), second)

    expected = {("TidemillQueueNeverClears", "chat")} if alerts else set()
    firing(record(600, world), {60: set(), 600: expected}, tmp_path)


@pytest.mark.parametrize(("seconds", "partial"), [(0.5, 0.0), (2.5, 0.0), (2.5, 4.5)])
def test_an_endpoint_whose_source_is_missing_for_a_minute_fires_that_alert_and_no_other(tmp_path, seconds, partial):
    law = Law(0, 2, 4, 2.0, timedelta(minutes=5), timedelta(minutes=10))

    def world(second):
        load = Load(oldest_seconds=partial) if 120 <= second < 180 else Load(5, 4, seconds, complete=True)
        figures = queue(Rates(load), law, START + timedelta(seconds=second)).model_dump(mode="json", by_alias=True)
        status = {"queue": figures, "replicas": 2, "readyReplicas": 2}
        return scrape(operator_with(endpoints=[body("chat", {"replicas": {"max": 2}}, status)]), second)

    missing = {("TidemillSourceMissing", "chat")}
    expected = {second: missing if 150 <= second < 180 else set() for second in range(0, 1200, 15)}
    firing(record(1200, world), expected, tmp_path)


def test_a_window_at_risk_says_so_after_a_minute_and_a_moment_of_doubt_does_not(tmp_path):
    at_risk, on_track = condition("WindowAtRisk", "True", "NoCapacity"), condition("WindowAtRisk", "False", "OnTrack")

    def world(second):
        return jobs_alone(second, **(at_risk if second == 30 or 120 <= second < 300 else on_track))

    expected = {30: set(), 90: set(), 165: set(), 180: {("TidemillJobWindowAtRisk", TICKETS)}, 300: set()}
    firing(record(330, world), expected, tmp_path)


def test_a_job_without_a_share_of_the_budget_has_no_finish_and_is_late_and_at_risk_all_the_same(tmp_path):
    starved = {"forecast": {"meetsWindow": False, "chancePercent": 0}, "workers": {"desired": 0, "ready": 0}}
    recording = record(
        600, lambda second: jobs_alone(second, **starved, **condition("WindowAtRisk", "True", "QuotaReached"))
    )
    late, at_risk = ("TidemillJobQueueWarning", TICKETS), ("TidemillJobWindowAtRisk", TICKETS)
    firing(recording, {45: set(), 60: {at_risk}, 585: {at_risk}, 600: {at_risk, late}}, tmp_path)


def restarts(count):
    labels = {"kind": "BatchInferenceJob", "namespace": "team", "name": TICKETS}
    return {("tidemill_worker_container_restarts", frozenset(labels.items())): float(count)}


def test_containers_that_begin_again_three_times_alert_and_a_worker_that_leaves_does_not(tmp_path):
    recording = record(3600, lambda second: jobs_alone(second) | restarts(min(second // 300, 3)))
    firing(
        recording, {525: set(), 900: {("TidemillJobQueueWarning", TICKETS), *CRITICAL, RESTARTS}, 3600: LATE}, tmp_path
    )
    leaving = record(600, lambda second: jobs_alone(second) | restarts(9 if second < 300 else 0))
    firing(leaving, {285: set(), 300: set(), 585: set()}, tmp_path)


CRITICAL = {("TidemillJobQueueCritical", TICKETS)}
RESTARTS = ("TidemillEngineRestarts", TICKETS)
LATE = {("TidemillJobQueueWarning", TICKETS), *CRITICAL}


def engines(*running):
    """Engines as (replica, pod): the labels of the pod come from the PodMonitor's target."""
    labels = [
        {"endpoint": "team/chat", "revision": "1", "replica": replica, "namespace": "team", "pod": pod}
        for replica, pod in running
    ]
    return {("tidemill_engine_ready", frozenset(one.items())): 1.0 for one in labels}


def test_an_engine_that_begins_again_on_its_pod_alerts_and_a_scale_up_does_not(tmp_path):
    def dying(second):
        return scrape(operator_with(), second) | engines((f"replica-{second // 240}", "pod-a"))

    firing(record(900, dying), {705: set(), 720: {("TidemillEngineRestarts", "")}}, tmp_path)

    def growing(second):
        replicas = [(f"replica-{number}", f"pod-{number}") for number in range(1 + second // 120)]
        return scrape(operator_with(), second) | engines(*replicas)

    firing(record(900, growing), {second: set() for second in range(0, 900, 60)}, tmp_path)


def test_an_operator_that_is_gone_alerts_after_two_minutes_and_nothing_else_does(tmp_path):
    gone = record(600, lambda second: {} if second >= 300 else jobs_alone(second))
    firing(gone, {405: set(), 420: {("TidemillOperatorDown", "")}, 600: {("TidemillOperatorDown", "")}}, tmp_path)


def test_operators_of_which_none_leads_alert_as_if_they_were_gone(tmp_path):
    none = record(600, lambda second: {("tidemill_operator_leader", frozenset()): 0.0})
    firing(none, {105: set(), 135: {("TidemillOperatorDown", "")}, 600: {("TidemillOperatorDown", "")}}, tmp_path)


def test_an_operator_that_restarts_alerts_nobody(tmp_path):
    restarted = record(480, lambda second: {} if 120 <= second < 210 else jobs_alone(second))
    firing(restarted, {second: set() for second in range(0, 480, 15)}, tmp_path)


def by_replica(samples, pod):
    """The figures as they are stored of this replica of the operator."""
    return {(name, labels | {("pod", pod)}): value for (name, labels), value in samples.items()}


def test_a_failed_scrape_or_a_restart_of_the_operator_resolves_no_alert_about_an_age(tmp_path):
    def both(second):
        late, waiting = operator_with(jobs=[job()]), endpoint(2.5, ready=2)
        return scrape({JOB: late[JOB], ENDPOINT: waiting[ENDPOINT]}, second)

    def world(second):
        if second == 690 or 720 <= second < 810:
            return {}
        return by_replica(both(second), "old" if second < 720 else "new")

    late = {("TidemillJobQueueWarning", TICKETS), AGE_WARNING}
    firing(record(885, world), dict.fromkeys(range(600, 885, 15), late), tmp_path)


def test_two_replicas_of_the_operator_that_are_seen_at_once_are_one_alert(tmp_path):
    def world(second):
        return by_replica(jobs_alone(second), "old") | by_replica(jobs_alone(second), "new")

    firing(record(660, world), {660: {("TidemillJobQueueWarning", TICKETS)}}, tmp_path)


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    named = {Path(rule["annotations"]["runbook_url"]).name for rule in rules()}
    assert named == {f"{rule['alert']}.md" for rule in rules()}
    assert {path.name for path in RUNBOOKS.iterdir()} == named


def test_the_runbook_of_a_window_at_risk_has_every_cause_and_no_other():
    table = re.findall(r"^\| `(\w+)` \|", (RUNBOOKS / "TidemillJobWindowAtRisk.md").read_text(), flags=re.MULTILINE)
    causes = {*REASONS.values(), Reason.JOB_WAITING, Reason.WINDOW_PASSED}
    assert sorted(table) == sorted(cause.value for cause in causes)


def test_every_alert_is_tested_here():
    text = Path(__file__).read_text(encoding="utf-8")
    assert {rule["alert"] for rule in rules()} <= set(re.findall(r'"(Tidemill\w+)"', text))


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_only_alerts_about_the_age_of_a_queue_ask_for_a_boost(rule):
    by_object = "max by (kind, namespace, name) (tidemill_queue_age_ratio{"
    about_age = rule["expr"].startswith(by_object) and "workers_ready == 0" not in rule["expr"]
    assert ("tidemill_kind" in rule["labels"]) == about_age


def test_the_alerts_name_only_metrics_that_are_served():
    named = {name for rule in rules() for name in re.findall(r"\btidemill_\w+", rule["expr"])}
    assert named <= every_series()
