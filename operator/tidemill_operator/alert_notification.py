"""Alertmanager's webhook notifications (version 4), read into what they ask for. Pure; decides nothing.

An alert is about a job or an endpoint when it carries the labels `tidemill_kind`, `namespace` and `name`; whoever wrote
its rule. Others in the same notification are left out: a route may send more than it should. So is one whose names no
object can have, and that is said: labels are written by whoever may write a rule, and are not to be trusted.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tidemill_api.v1alpha1.common import DNS_LABEL, DNS_SUBDOMAIN
from tidemill_operator.core.alert_calls import Call, firing, resolved

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["BatchInferenceJob", "RealtimeEndpoint"]

LABEL_KIND = "tidemill_kind"
LABEL_NAMESPACE = "namespace"
LABEL_NAME = "name"
LABEL_FACTOR = "tidemill_boost"
"""Optional: how many times the size is to be, as a decimal from 1 to 2."""

FACTORS: Mapping[str, float] = {"warning": 1.5, "critical": 2.0}
"""By the label `severity`, where `tidemill_boost` does not say it."""

DEFAULT_FACTOR = 1.5

MOST_ALERTS = 1000
"""In one notification. Alertmanager's `max_alerts` can send fewer."""

MOST_NAMESPACE, MOST_NAME = 63, 253
"""Characters of a namespace's and an object's name, as Kubernetes bounds them."""


@dataclass(frozen=True, order=True)
class Target:
    """The object that an alert is about."""

    kind: Kind
    namespace: str
    name: str


@dataclass(frozen=True)
class Asked:
    """What a notification asks for by object, in order of the objects; and the alerts that were not taken, with why."""

    calls: Mapping[Target, tuple[Call, ...]]
    left_out: tuple[str, ...] = ()


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("no moment that can be reckoned with") from error


class _Alert(BaseModel):
    model_config = ConfigDict(frozen=True)

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    starts_at: Annotated[AwareDatetime, AfterValidator(_in_utc)] = Field(alias="startsAt")


class _Notification(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: Literal["4"]
    alerts: tuple[_Alert, ...] = Field(max_length=MOST_ALERTS)


def read_notification(body: bytes, now: datetime) -> Asked:
    """What a notification says. An alert cannot have begun later than `now`, whatever the clock that sent it says.

    Raises ValueError, with what is wrong and where, for a body that is no notification of version 4.
    """
    try:
        notification = _Notification.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{where}: {fault['msg']}" if where else fault["msg"]) from error
    calls: dict[Target, list[Call]] = defaultdict(list)
    left_out = []
    for number, alert in enumerate(notification.alerts):
        try:
            target = _target(alert.labels)
        except ValueError as error:
            left_out.append(f"alerts.{number}: {error}")
            continue
        if target is not None:
            calls[target].append(_call(alert, now))
    return Asked({target: tuple(calls[target]) for target in sorted(calls)}, tuple(left_out))


def _target(labels: Mapping[str, str]) -> Target | None:
    """What an alert is about; None for nothing of ours. Raises ValueError where its names are none of an object."""
    kind, namespace, name = (labels.get(label, "") for label in (LABEL_KIND, LABEL_NAMESPACE, LABEL_NAME))
    for known in get_args(Kind):
        if kind == known:
            _check(LABEL_NAMESPACE, namespace, DNS_LABEL, MOST_NAMESPACE)
            _check(LABEL_NAME, name, DNS_SUBDOMAIN, MOST_NAME)
            return Target(known, namespace, name)
    return None


def _check(label: str, value: str, pattern: str, most: int) -> None:
    if len(value) > most or not re.fullmatch(pattern, value):
        raise ValueError(f"label {label} is no name of Kubernetes: {value[:most]!r}")


def _call(alert: _Alert, now: datetime) -> Call:
    name = alert.labels.get("alertname", "")
    if alert.status == "resolved":
        return resolved(name)
    return firing(name, _factor(alert.labels), min(alert.starts_at, now))


def _factor(labels: Mapping[str, str]) -> float:
    """What the rule's author asks for; a value that is no number counts as none given."""
    try:
        factor = float(labels[LABEL_FACTOR])
    except (KeyError, ValueError):
        return FACTORS.get(labels.get("severity", ""), DEFAULT_FACTOR)
    return factor if factor == factor else DEFAULT_FACTOR  # noqa: PLR0124 - NaN is the number that is not itself
