"""Kubernetes quantities (`500m`, `16Gi`) as exact numbers."""

import re
from decimal import Decimal

_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d+)?$")
_FACTORS = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9),
    "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30),
    "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


def parse_quantity(text: str | float) -> Decimal | None:
    """Return the number a quantity stands for; None where it is none."""
    found = _QUANTITY.match(str(text))
    if not found:
        return None
    number, suffix = Decimal(found[1]), found[2] or ""
    if suffix in _FACTORS:
        return number * _FACTORS[suffix]
    return number * Decimal(f"1{suffix}")
