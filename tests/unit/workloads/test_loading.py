"""An engine that loads: how long it is waited for, and what is heard of it meanwhile. The futures stand for engines."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from tidemill_workloads.worker import came


@pytest.fixture(autouse=True)
def quick_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill_workloads.worker.LOADING_REPORT_SECONDS", 0.01)


def test_an_engine_that_hangs_while_it_loads_is_taken_for_dead() -> None:
    said: list[str] = []
    assert not came(Future(), 0.1, lambda: said.append("loading"))
    assert len(said) > 2, "until then it was not silent"


def test_an_engine_that_loads_slowly_is_waited_for() -> None:
    started: Future[None] = Future()
    said: list[str] = []

    def loading() -> None:
        said.append("loading")
        if len(said) == 3:
            threading.Timer(0.005, started.set_result, (None,)).start()

    assert came(started, 10, loading)
    assert len(said) >= 3


def test_a_time_out_of_the_engines_own_start_is_its_failure_and_not_ours() -> None:
    started: Future[None] = Future()
    started.set_exception(TimeoutError("of its own"))
    with pytest.raises(TimeoutError, match="of its own"):
        came(started, 10, lambda: None)
