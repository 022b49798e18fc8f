"""The supervisor's own decisions, without a cluster: its command line and what it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from devcluster.supervisor import ClusterError, Settings, Supervisor

CHECKOUT = Path(__file__).parents[3]


def command(*words):
    return subprocess.run(
        [str(CHECKOUT / "hack" / "devcluster.sh"), *words], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def supervisor(tmp_path):
    lines = []
    return Supervisor(Settings(tmp_path / "state", tmp_path / "kubeconfig"), lines.append), lines


@pytest.mark.skipif(not (CHECKOUT / ".tidemill/venv/bin/python").exists(), reason="the checkout is not set up")
def test_help_teaches_every_command():
    shown = command("--help").stdout
    assert all(f"\n  {word} " in shown for word in ("up", "down", "status"))
    assert "export KUBECONFIG" in shown


@pytest.mark.skipif(not (CHECKOUT / ".tidemill/venv/bin/python").exists(), reason="the checkout is not set up")
def test_status_of_nothing_says_what_is_down_and_fails(tmp_path):
    done = command("status", "--state", str(tmp_path))
    assert done.returncode == 1
    assert [line.split()[1] for line in done.stdout.splitlines()[1:5]] == ["down"] * 4


def test_down_without_a_cluster_has_nothing_to_do(supervisor):
    made, lines = supervisor
    made.down(purge=True)
    assert lines == ["nothing runs"]


def test_purge_leaves_a_folder_alone_that_is_no_state(tmp_path):
    (tmp_path / "precious").write_text("x")
    made = Supervisor(Settings(tmp_path, tmp_path / "kubeconfig"), lambda _: None)
    with pytest.raises(ClusterError, match="not the state of a dev cluster"):
        made.down(purge=True)
    assert (tmp_path / "precious").exists()


def test_a_process_that_dies_at_its_start_is_told_with_its_last_words(supervisor, monkeypatch):
    made, _ = supervisor
    failing = (sys.executable, "-c", "raise SystemExit('no such option')")
    monkeypatch.setattr("devcluster.supervisor._python", lambda module: failing)
    with pytest.raises(ClusterError, match=r"apiserver ended instead of getting ready(?s:.*)no such option"):
        made.up_api_server()


def test_a_node_without_a_name_is_refused_before_anything_starts(tmp_path):
    made = Supervisor(Settings(tmp_path, tmp_path / "kubeconfig", ("cpu=4",)), lambda _: None)
    with pytest.raises(ClusterError, match="a node needs a name"):
        made.up()
    assert set(made.alive().values()) == {None}
