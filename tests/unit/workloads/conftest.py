"""Fixtures of the tests of the Serve application."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from serving_world import World


@pytest.fixture
def paced_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Engine replicas of this test have the paced server, which makes a token each 10 ms and notes what it does."""
    ports = tmp_path / "ports"
    ports.mkdir()
    monkeypatch.setenv("TIDEMILL_TEST_PORTS_FOLDER", str(ports))
    monkeypatch.setenv("TIDEMILL_ENGINE", "paced_server:create")
    monkeypatch.setenv("TIDEMILL_TEST_FOLDER", str(tmp_path))
    monkeypatch.setenv("TIDEMILL_TEST_TOKEN_SECONDS", "0.01")


@pytest.fixture
async def world(paced_engine: None) -> AsyncIterator[World]:
    """The replicas of one endpoint, none at first."""
    from serving_world import World, config

    async with World(config()) as made:
        yield made
