"""Spans of time as a spec writes them: the completion window, the target in it, and hours of the day that cost less.

A rule stands beside its field, once for the API server (CEL) and once for pydantic.
"""

from __future__ import annotations

import re
from datetime import time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ConfigDict, Field, field_validator, model_validator

from tidemill_api.markers import rules
from tidemill_api.v1alpha1.common import ApiModel

MIN_WINDOW = timedelta(minutes=5)
MIN_TARGET = timedelta(minutes=1)
MAX_WINDOW = timedelta(days=14)

WINDOW_PATTERN = r"^([1-9][0-9]?d)?([1-9][0-9]{0,2}h)?([1-9][0-9]{0,4}m)?$"
_WINDOW = re.compile(WINDOW_PATTERN)


def _message(field: str, least: str) -> str:
    return f"{field} must be {least} to 14d, such as 30m, 4h or 1d12h (beside days, below 24h and 60m)"


def _rule(least: str) -> str:
    """CEL's duration() knows no days, so spans with days are judged by their form and the others by their length."""
    return (
        "self.contains('d')"
        " ? self.matches('^(([1-9]|1[0-3])d([1-9]h|1[0-9]h|2[0-3]h)?([1-9]m|[1-5][0-9]m)?|14d)$')"
        f" : duration(self) >= duration('{least}') && duration(self) <= duration('336h')"
    )


_WINDOW_MESSAGE = _message("completionWindow", "5m")
_TARGET_MESSAGE = _message("targetCompletion", "1m")
WINDOW_RULES = rules((_rule("5m"), _WINDOW_MESSAGE))
TARGET_RULES = rules((_rule("1m"), _TARGET_MESSAGE))


def _in_cel(field: str) -> str:
    """The duration of such a field in CEL: its days are counted as hours."""
    days = f"duration(string(int({field}.split('d')[0]) * 24) + 'h') + duration({field}.split('d')[1] + '0s')"
    return f"({field}.contains('d') ? {days} : duration({field}))"


TARGET_IN_WINDOW_MESSAGE = "targetCompletion must not be longer than completionWindow"
TARGET_IN_WINDOW = (
    f"!has(self.targetCompletion) || {_in_cel('self.targetCompletion')} <= {_in_cel('self.completionWindow')}"
)


def parse_window(text: str) -> timedelta:
    """A completion window such as `4h`, `90m`, `1d12h` as a duration.

    Raises ValueError, with what to write instead, for another form or outside of 5m to 14d.
    """
    return _parse(text, MIN_WINDOW, _WINDOW_MESSAGE)


def parse_target(text: str) -> timedelta:
    """A target completion time as a duration. Raises ValueError for another form or outside of 1m to 14d."""
    return _parse(text, MIN_TARGET, _TARGET_MESSAGE)


def _parse(text: str, least: timedelta, message: str) -> timedelta:
    match = _WINDOW.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{message}, not {text!r}")
    days, hours, minutes = (int(group[:-1]) if group else 0 for group in match.groups())
    span = timedelta(days=days, hours=hours, minutes=minutes)
    if not least <= span <= MAX_WINDOW or (days and (hours >= 24 or minutes >= 60)):
        raise ValueError(f"{message}, not {text!r}")
    return span


TIME_OF_DAY = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
PRICE_FACTOR = r"^0[.]([0-9][1-9]|[1-9]0?)$"
TIME_ZONE = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
_SAME_TIME_MESSAGE = "cheaperHours: end must be another time than start"


class CheaperHours(ApiModel):
    """Hours of each day in which a worker costs less; past midnight where the end is the earlier time of day."""

    model_config = ConfigDict(json_schema_extra=rules(("self.start != self.end", _SAME_TIME_MESSAGE)))

    start: str = Field(
        min_length=5, max_length=5, pattern=TIME_OF_DAY, description="start of the hours, a time of day such as 22:00."
    )
    end: str = Field(
        min_length=5,
        max_length=5,
        pattern=TIME_OF_DAY,
        description="end of the hours, a time of day such as 06:00; 00:00 is midnight.",
    )
    time_zone: str = Field(
        default="UTC",
        min_length=1,
        max_length=64,
        pattern=TIME_ZONE,
        description="timeZone of start and end by its name in the IANA database, such as Europe/Berlin. Default: UTC.",
    )
    price_factor: str = Field(
        min_length=3,
        max_length=4,
        pattern=PRICE_FACTOR,
        description="priceFactor of these hours to the price of all others, a decimal from 0.01 to 0.99 in quotes.",
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            message = f"timeZone: {name!r} is no name of the IANA time zone database; write one such as Europe/Berlin"
            raise ValueError(message) from None
        return name

    @model_validator(mode="after")
    def _not_empty(self) -> CheaperHours:
        if self.start == self.end:
            raise ValueError(_SAME_TIME_MESSAGE)
        return self

    @property
    def times(self) -> tuple[time, time]:
        """Start and end as times of day in the zone."""
        return time.fromisoformat(self.start), time.fromisoformat(self.end)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone, with its changes of daylight saving."""
        return ZoneInfo(self.time_zone)

    @property
    def factor(self) -> float:
        """The price in these hours, by the price of all others."""
        return float(self.price_factor)
