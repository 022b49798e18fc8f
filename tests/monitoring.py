"""The real Prometheus and Alertmanager as processes of a test, on ports that were free, scraping each second."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).parents[1]
BINARIES = ROOT / ".tidemill" / "bin"
README = ROOT / "README.md"
RULES = ROOT / "charts" / "tidemill" / "files" / "alerts.yaml"

START_SECONDS = 60


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str, at: float | None = None) -> list[dict[str, Any]]:
        """The samples of an instant query, each with `metric` and `value`; fails where Prometheus refuses it."""
        parameters = {"query": expression} | ({"time": str(at)} if at is not None else {})
        answer = httpx.get(f"{self.url}/api/v1/query", params=parameters, timeout=30).json()
        assert answer["status"] == "success", f"{expression}: {answer}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def firing(self) -> set[tuple[str, str]]:
        """Alerts that fire now: (name of the alert, name of the object)."""
        labels = [sample["metric"] for sample in self.query('ALERTS{alertstate="firing"}')]
        return {(label["alertname"], label.get("name", "")) for label in labels}

    def ever_fired(self, since: float) -> set[str]:
        """Names of the alerts that fired at any moment since then (seconds since 1970)."""
        seconds = int(time.time() - since) + 1
        samples = self.query(f'count by (alertname) (count_over_time(ALERTS{{alertstate="firing"}}[{seconds}s]))')
        return {sample["metric"]["alertname"] for sample in samples}


@dataclass(frozen=True)
class Alertmanager:
    """A running Alertmanager."""

    url: str

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that it knows of."""
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/api/v2/alerts", timeout=30).json()
        return found


def hurried_rules(folder: Path) -> Path:
    """The chart's alerts, none kept on for longer than two seconds after it is over."""
    text = RULES.read_text(encoding="utf-8")
    assert "keep_firing_for: 2m" in text
    file = folder / "hurried-rules.yaml"
    file.write_text(text.replace("keep_firing_for: 2m", "keep_firing_for: 2s"), encoding="utf-8")
    return file


@contextmanager
def prometheus(
    folder: Path, targets: Sequence[str], alertmanager: Alertmanager | None = None, rules: Path = RULES
) -> Iterator[Prometheus]:
    """Scrapes these addresses each second, evaluates these alerts, the chart's unless told, each second."""
    folder.mkdir()
    config: dict[str, Any] = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "tidemill", "honor_labels": True, "static_configs": [{"targets": list(targets)}]}
        ],
    }
    if alertmanager is not None:
        there = {"static_configs": [{"targets": [alertmanager.url.removeprefix("http://")]}]}
        config["alerting"] = {"alertmanagers": [there]}
    port = free_port()
    command = [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    with _running("prometheus", folder, config, command, port) as url:
        yield Prometheus(url)


@contextmanager
def alertmanager(folder: Path, webhook: str, credentials: Path) -> Iterator[Alertmanager]:
    """An Alertmanager with the README's route, receiver and inhibition, which sends to this webhook.

    Its own are a receiver for the rest, and how soon it tells of what changed: seconds instead of minutes.
    """
    folder.mkdir()
    config = readme_config()
    (hook,) = config["receivers"][0]["webhook_configs"]
    hook["url"] = webhook
    hook["http_config"]["authorization"]["credentials_file"] = str(credentials)
    config["receivers"].append({"name": "nobody"})
    config["route"] |= {"receiver": "nobody", "group_interval": "1s", "repeat_interval": "5s"}
    config["global"] = {"resolve_timeout": "5s"}
    port = free_port()
    command = [
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with _running("alertmanager", folder, config, command, port) as url:
        yield Alertmanager(url)


def readme_config() -> dict[str, Any]:
    """What the README tells a platform team to add to the configuration of its Alertmanager."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    (config,) = [yaml.safe_load(block) for block in blocks if block.startswith("route:")]
    found: dict[str, Any] = config
    return found


@contextmanager
def _running(name: str, folder: Path, config: dict[str, Any], command: list[str], port: int) -> Iterator[str]:
    """The process, from when it says that it is ready until the context ends."""
    binary = BINARIES / name
    assert binary.exists(), f"{binary} is missing: run ./hack/setup.sh"
    file, url = folder / "config.yaml", f"http://127.0.0.1:{port}"
    file.write_text(json.dumps(config))  # JSON is YAML
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([str(binary), f"--config.file={file}", *command], stdout=log, stderr=log)
        try:
            wait_until(lambda: _ready(url, process), START_SECONDS, f"{name}: {folder / 'log'}")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=30)


def _ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "it ended"
    try:
        return httpx.get(f"{url}/-/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def wait_until(check: Callable[[], Any], seconds: float, what: str) -> Any:
    """What `check` returns once that is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds} s"
        time.sleep(0.2)
    return found
