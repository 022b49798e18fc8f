"""Kubernetes resource quantities: adding, multiplying and writing them as the API does.

Parsing is the official client's. The canonical text form (largest suffix that leaves an integer) is
https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from kubernetes.utils import parse_quantity

_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = (("E", 18), ("P", 15), ("T", 12), ("G", 9), ("M", 6), ("k", 3), ("", 0), ("m", -3), ("u", -6), ("n", -9))


@dataclass(frozen=True)
class Quantity:
    """An exact amount, and whether it is written with binary suffixes (`Gi`) or decimal ones (`G`)."""

    amount: Decimal = Decimal(0)
    binary: bool = False

    @classmethod
    def parse(cls, text: str | float) -> Quantity:
        """Read a quantity such as `500m`, `4`, `16Gi`. ValueError if it is none."""
        amount: Decimal = parse_quantity(text)  # type: ignore[no-untyped-call]  # the client is not annotated
        return cls(amount, str(text).endswith("i"))

    def __add__(self, other: Quantity) -> Quantity:
        """The sum, written in the form of the first operand that is not zero, as the API does."""
        return Quantity(self.amount + other.amount, self.binary if self.amount else other.binary)

    def times(self, factor: int) -> Quantity:
        """The amount `factor` times."""
        return Quantity(self.amount * factor, self.binary)

    def ceiling(self) -> int:
        """The amount rounded up to a whole number, as `Quantity.Value()` does in Go."""
        return math.ceil(self.amount)

    def __str__(self) -> str:
        """The canonical text."""
        if not self.amount:
            return "0"
        if self.binary and self.amount == self.amount.to_integral_value() and abs(self.amount) >= 1024:
            return _binary_text(int(self.amount))
        return _decimal_text(self.amount)


def _binary_text(amount: int) -> str:
    power = 0
    while amount % 1024 == 0 and power < len(_BINARY) - 1:
        amount //= 1024
        power += 1
    return f"{amount}{_BINARY[power]}"


def _decimal_text(amount: Decimal) -> str:
    for suffix, exponent in _DECIMAL:
        scaled = amount.scaleb(-exponent)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    return f"{math.ceil(amount.scaleb(9))}n"
