"""Times as people read them in a column: `5m12s`, `3h`, `12d`. After k8s.io/apimachinery/pkg/util/duration."""

from datetime import UTC, datetime

from devcluster.apiserver.objects import parse_time

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 86400 * 365
# Below so many seconds: the unit, its length, and the smaller unit shown with it.
_STEPS = (
    (2 * _MINUTE, "s", 1, "", 1),
    (10 * _MINUTE, "m", _MINUTE, "s", 1),
    (3 * _HOUR, "m", _MINUTE, "", 1),
    (8 * _HOUR, "h", _HOUR, "m", _MINUTE),
    (2 * _DAY, "h", _HOUR, "", 1),
    (8 * _DAY, "d", _DAY, "h", _HOUR),
    (2 * _YEAR, "d", _DAY, "", 1),
    (8 * _YEAR, "y", _YEAR, "d", _DAY),
)


def human_duration(seconds: float) -> str:
    """Return a duration in at most two units, coarser as it gets longer."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    whole = max(whole, 0)
    for bound, unit, size, small, small_size in _STEPS:
        if whole < bound:
            rest = whole % size // small_size if small else 0
            return f"{whole // size}{unit}" + (f"{rest}{small}" if rest else "")
    return f"{whole // _YEAR}y"


def age(timestamp: str | None, now: datetime | None = None) -> str:
    """Return how long ago an RFC 3339 time was; `<unknown>` where there is none."""
    moment = parse_time(timestamp) if isinstance(timestamp, str) else None
    if moment is None:
        return "<unknown>"
    return human_duration(((now or datetime.now(UTC)) - moment).total_seconds())
