"""The functions Kubernetes adds to CEL: strings, lists, regular expressions, quantities, URLs and addresses.

After k8s.io/apiserver/pkg/cel/library and cel-go's string extensions. Plain functions of plain values: a quantity
travels through an expression as a map with one member, since the evaluator carries JSON-like values only.
"""

import ipaddress
import itertools
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from devcluster.apiserver.quantities import parse_quantity

_QUANTITY = "quantity"


def _size(value: Any) -> int:
    return len(value)


def _substring(text: str, start: int, end: int | None = None) -> str:
    stop = len(text) if end is None else end
    if not 0 <= start <= stop <= len(text):
        raise ValueError(f"index out of range: {start}")
    return text[start:stop]


def _index_of(value: Any, wanted: Any, start: int = 0) -> int:
    if isinstance(value, str):
        return value.find(wanted, start)
    return value.index(wanted) if wanted in value else -1


def _last_index_of(value: Any, wanted: Any) -> int:
    if isinstance(value, str):
        return value.rfind(wanted)
    return len(value) - 1 - value[::-1].index(wanted) if wanted in value else -1


def _char_at(text: str, index: int) -> str:
    if not 0 <= index <= len(text):
        raise ValueError(f"index out of range: {index}")
    return text[index : index + 1]


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        return list(text)
    return text.split(separator, limit - 1 if limit > 0 else -1)


def _join(items: list[str], separator: str = "") -> str:
    return separator.join(items)


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, limit)


def _reverse(value: Any) -> Any:
    return value[::-1]


def _format(template: str, arguments: list[Any]) -> str:
    remaining = iter(arguments)

    def one(found: "re.Match[str]") -> str:
        if found[0] == "%%":
            return "%"
        value = next(remaining)
        if found[1] in "sd":
            return str(value).lower() if isinstance(value, bool) else str(value)
        return str(found[0] % value)

    return re.sub(r"%(?:\.\d+)?([sdfeboxX%])", one, template)


def _find(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found[0] if found else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match[0] for match in re.finditer(pattern, text)]
    return found if limit < 0 else found[:limit]


def _is_sorted(items: list[Any]) -> bool:
    return all(first <= second for first, second in itertools.pairwise(items))


def _sum(items: list[Any]) -> Any:
    return sum(items)


def _quantity(text: str) -> dict[str, str]:
    value = parse_quantity(text)
    if value is None:
        raise ValueError("quantities must match the regular expression of Kubernetes quantities")
    return _carried(value)


def _carried(value: Decimal) -> dict[str, str]:
    return {_QUANTITY: str(value.normalize())}


def _number(value: Any) -> Decimal:
    return Decimal(value[_QUANTITY]) if isinstance(value, dict) else Decimal(str(value))


def _compare_to(first: Any, second: Any) -> int:
    one, two = _number(first), _number(second)
    return (one > two) - (one < two)


def _as_integer(value: Any) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError("cannot convert value to integer")
    return int(number)


def _url(text: str) -> str:
    if not _is_url(text):
        raise ValueError(f"URL parse error during conversion from string: {text}")
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme or text.startswith("/"))


def _is_ip(text: str, version: int | None = None) -> bool:
    try:
        return ipaddress.ip_address(text).version == (version or ipaddress.ip_address(text).version)
    except ValueError:
        return False


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


# `size` counts characters; the evaluator's own counts bytes, so rules are compiled with this one in its place.
SIZE = "size_in_characters"

FUNCTIONS: dict[str, Callable[..., Any]] = {
    SIZE: _size,
    "substring": _substring,
    "indexOf": _index_of,
    "lastIndexOf": _last_index_of,
    "charAt": _char_at,
    "split": _split,
    "join": _join,
    "replace": _replace,
    "reverse": _reverse,
    "format": _format,
    "lowerAscii": str.lower,
    "upperAscii": str.upper,
    "trim": str.strip,
    "find": _find,
    "findAll": _find_all,
    "isSorted": _is_sorted,
    "sum": _sum,
    "quantity": _quantity,
    "isQuantity": lambda text: parse_quantity(text) is not None,
    "compareTo": _compare_to,
    "isLessThan": lambda first, second: _compare_to(first, second) < 0,
    "isGreaterThan": lambda first, second: _compare_to(first, second) > 0,
    "isInteger": lambda value: _number(value) == int(_number(value)),
    "asInteger": _as_integer,
    "asApproximateFloat": lambda value: float(_number(value)),
    "sign": lambda value: _compare_to(value, 0),
    "add": lambda first, second: _carried(_number(first) + _number(second)),
    "sub": lambda first, second: _carried(_number(first) - _number(second)),
    "url": _url,
    "isURL": _is_url,
    "getScheme": lambda text: urlsplit(text).scheme,
    "getHost": lambda text: urlsplit(text).netloc.rpartition("@")[2],
    "getHostname": lambda text: urlsplit(text).hostname or "",
    "getPort": lambda text: str(urlsplit(text).port or ""),
    "getEscapedPath": lambda text: urlsplit(text).path,
    "isIP": _is_ip,
    "isCIDR": _is_cidr,
}
