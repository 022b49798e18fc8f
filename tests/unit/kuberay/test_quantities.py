"""Quantities: what the API server would write back."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.kuberay.quantities import Quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("4", "4"),
        ("0.5", "500m"),
        ("1500m", "1500m"),
        ("2000m", "2"),
        ("1024Mi", "1Gi"),
        ("1536Mi", "1536Mi"),
        ("12Gi", "12Gi"),
        ("1000M", "1G"),
        ("0Gi", "0"),
        ("512", "512"),
    ],
)
def test_a_quantity_is_written_in_its_shortest_whole_form(text, canonical):
    assert str(Quantity.parse(text)) == canonical


def test_a_sum_keeps_the_form_of_its_first_operand():
    assert str(Quantity() + Quantity.parse("4Gi") + Quantity.parse("8Gi")) == "12Gi"
    assert str(Quantity.parse("1Gi").times(0)) == "0"
    assert str(Quantity.parse("500m") + Quantity.parse("2")) == "2500m"


@given(st.integers(0, 2**50), st.booleans())
def test_writing_and_reading_loses_nothing(amount, binary):
    quantity = Quantity(Decimal(amount), binary)
    assert Quantity.parse(str(quantity)).amount == amount
