"""Kubernetes quantities as numbers, as far as our API allows them (`500m`, `2`, `16Gi`, `1.5G`)."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

_FACTORS = {
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}


def quantity(text: str) -> Decimal:
    """A quantity's value: bytes for memory, cores for CPU. Raises decimal.InvalidOperation for anything else."""
    digits = text.rstrip("kmKMGTi")
    return Decimal(digits) * _FACTORS.get(text[len(digits) :], Decimal(1))


def whole_bytes(text: str) -> int:
    """A quantity of memory in bytes, rounded up."""
    return int(quantity(text).to_integral_value(ROUND_CEILING))
