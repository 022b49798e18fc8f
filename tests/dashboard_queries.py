"""The queries of the chart's Grafana dashboards, with their variables filled in as Grafana would."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

DASHBOARDS = sorted((Path(__file__).parents[1] / "charts" / "tidemill" / "files" / "dashboards").glob("*.json"))


def panels(path: Path) -> list[dict[str, Any]]:
    """The panels of a dashboard."""
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return found


def queries(path: Path, namespace: str) -> list[tuple[str, str]]:
    """Title of the panel and expression, for what is in this namespace; days are made minutes, as a test lasts."""
    values = {"namespace": namespace, "name": ".*", "__rate_interval": "10s"}
    found = []
    for panel in panels(path):
        for target in panel["targets"]:
            expression = re.sub(r"\$(\w+)", lambda match: values[match[1]], target["expr"])
            found.append((panel["title"], expression.replace("[24h:5m]", "[1m:1s]")))
    return found
