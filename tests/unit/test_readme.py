"""The README keeps up with the API: every word that a condition of an endpoint may carry is explained there."""

from pathlib import Path

import pytest

from tidemill_api.endpoint_conditions import EndpointCondition, EndpointReason

README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.mark.parametrize("word", [*EndpointCondition, *EndpointReason])
def test_the_readme_names_each_condition_and_reason_of_an_endpoint(word: str) -> None:
    assert f"`{word}`" in README
