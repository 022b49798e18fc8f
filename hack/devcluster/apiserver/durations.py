"""Times as people read them in a column: `5m12s`, `3h`, `12d`. After k8s.io/apimachinery/pkg/util/duration."""

from datetime import UTC, datetime

from devcluster.apiserver.objects import parse_time


def human_duration(seconds: float) -> str:
    """Return a duration in at most two units, coarser as it gets longer."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    whole = max(whole, 0)
    minutes, hours, days, years = whole // 60, whole // 3600, whole // 86400, whole // (86400 * 365)
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _pair(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _pair(days, "d", hours % 24, "h")
    if years < 2:
        return f"{days}d"
    if years < 8:
        return _pair(years, "y", days % 365, "d")
    return f"{years}y"


def _pair(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{small}{small_unit}" if small else f"{large}{large_unit}"


def age(timestamp: str | None, now: datetime | None = None) -> str:
    """Return how long ago an RFC 3339 time was; `<unknown>` where there is none."""
    moment = parse_time(timestamp) if isinstance(timestamp, str) else None
    if moment is None:
        return "<unknown>"
    return human_duration(((now or datetime.now(UTC)) - moment).total_seconds())
