"""The examples of the chart's README, as the API server judges them: every field known, every rule kept."""

import pytest
from chart_readme_blocks import objects


@pytest.mark.parametrize("example", objects(), ids=lambda example: f"{example['kind']}-{example['metadata']['name']}")
def test_the_api_server_takes_the_example(kubectl, example):
    said = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", given=example)
    assert "created (server dry run)" in said
