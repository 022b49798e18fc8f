"""Alertmanager's webhook notifications (version 4), read into what they ask for. Pure; decides nothing.

An alert is about a job or an endpoint when it carries the labels `tidemill_kind`, `namespace` and `name`; whoever wrote
its rule. Others in the same notification are left out: a route may send more than it should.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

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


@dataclass(frozen=True, order=True)
class Target:
    """The object that an alert is about."""

    kind: Kind
    namespace: str
    name: str


class _Alert(BaseModel):
    model_config = ConfigDict(frozen=True)

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    starts_at: AwareDatetime = Field(alias="startsAt")


class _Notification(BaseModel):
    model_config = ConfigDict(frozen=True)

    version: Literal["4"]
    alerts: tuple[_Alert, ...] = Field(max_length=MOST_ALERTS)


def read_notification(body: bytes) -> dict[Target, tuple[Call, ...]]:
    """What a notification says, by object, in order of the objects.

    Raises ValueError, with what is wrong and where, for a body that is no notification of version 4.
    """
    try:
        notification = _Notification.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{where}: {fault['msg']}" if where else fault["msg"]) from error
    calls: dict[Target, list[Call]] = defaultdict(list)
    for alert in notification.alerts:
        target = _target(alert.labels)
        if target is not None:
            calls[target].append(_call(alert))
    return {target: tuple(calls[target]) for target in sorted(calls)}


def _target(labels: Mapping[str, str]) -> Target | None:
    kind, namespace, name = (labels.get(label, "") for label in (LABEL_KIND, LABEL_NAMESPACE, LABEL_NAME))
    for known in get_args(Kind):
        if kind == known and namespace and name:
            return Target(known, namespace, name)
    return None


def _call(alert: _Alert) -> Call:
    name = alert.labels.get("alertname", "")
    began: datetime = alert.starts_at
    return resolved(name) if alert.status == "resolved" else firing(name, _factor(alert.labels), began)


def _factor(labels: Mapping[str, str]) -> float:
    """What the rule's author asks for; a value that is no number counts as none given."""
    try:
        factor = float(labels[LABEL_FACTOR])
    except (KeyError, ValueError):
        return FACTORS.get(labels.get("severity", ""), DEFAULT_FACTOR)
    return factor if factor == factor else DEFAULT_FACTOR  # noqa: PLR0124 - NaN is the number that is not itself
