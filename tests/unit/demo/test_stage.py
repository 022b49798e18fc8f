"""What the stage starts it stops, and nothing else. Cluster and operator are stood for by a list of what was done."""

import subprocess
from pathlib import Path

import pytest
from rich.console import Console

from demo import stage as module
from demo.errors import DemoError
from demo.stage import Stage


class Operator:
    """Stands for the operator's process."""

    log = Path("operator.log")

    def __init__(self, done: list[str]) -> None:
        self._done = done

    def start(self) -> None:
        self._done.append("operator starts")

    def stop(self) -> None:
        self._done.append("operator stops")


def staged(monkeypatch: pytest.MonkeyPatch, *, runs: bool, starts: bool = True) -> tuple[Stage, list[str]]:
    done: list[str] = []

    def devcluster(command: str) -> subprocess.CompletedProcess[bytes]:
        code = {"status": not runs, "up": not starts}.get(command, False)
        if command != "status":
            done.append(command)
        return subprocess.CompletedProcess([], int(code))

    monkeypatch.setattr(module, "_devcluster", devcluster)
    monkeypatch.setattr(module, "OperatorProcess", lambda *_: Operator(done))
    return Stage(Console(quiet=True)), done


def test_a_demo_that_never_began_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, done = staged(monkeypatch, runs=True)
    stage.down()
    assert done == []


def test_a_cluster_that_ran_before_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, done = staged(monkeypatch, runs=True)
    stage.up()
    stage.down()
    assert done == ["up", "operator starts", "operator stops"]


def test_a_cluster_that_the_demo_started_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, done = staged(monkeypatch, runs=False)
    stage.up()
    stage.down()
    assert done == ["up", "operator starts", "operator stops", "down"]


def test_a_cluster_that_does_not_start_is_said_and_cleared_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, done = staged(monkeypatch, runs=False, starts=False)
    with pytest.raises(DemoError, match="does not start"):
        stage.up()
    stage.down()
    assert done == ["up", "operator stops", "down"]
