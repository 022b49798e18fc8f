"""A RealtimeEndpoint on a stage: applied with its key, shown by the acts, taken away again."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from typing import TYPE_CHECKING

from rich.text import Text

from demo.errors import DemoError
from demo.manifests import load_manifest
from demo.realtime.acts import Acts
from demo.realtime.endpoint import KIND, DemoEndpoint, render
from demo.realtime.follower import Follower
from demo.realtime.plot import draw
from demo.realtime.summary import table, verdict
from demo.stage import EXAMPLES, MODELS, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from demo.realtime.observing import Moment

RESOURCE = "realtimeendpoint"
CLIENT = "demo"
"""The name of the demo's key in the Secret."""


def prepare_endpoint(manifest: Path | None) -> DemoEndpoint:
    """The endpoint to apply. Raises DemoError for what the user has to mend."""
    return render(load_manifest(manifest or EXAMPLES / "chat-endpoint.yaml", KIND), MODELS)


class RealtimeDemo:
    """An endpoint on a stage."""

    interrupted = ""

    def __init__(self, stage: Stage, endpoint: DemoEndpoint) -> None:
        self._stage, self._endpoint = stage, endpoint
        self._made_secret = False

    def run(self) -> int:
        """Shows the endpoint to its end; returns the demo's exit code."""
        self._stage.up()
        key = self._key() if self._endpoint.secret else ""
        self._stage.apply(self._endpoint.manifest, RESOURCE)
        return asyncio.run(self._play(key))

    async def _play(self, key: str) -> int:
        follower = Follower(self._stage.kubectl, self._endpoint)
        async with follower.following() as timeline:
            acts = Acts(self._stage, self._endpoint, timeline, key)
            try:
                await acts.play()
            finally:
                self._plot([moment for moment in timeline.moments if acts.ready_at <= moment.time])
        self._stage.console.print(table(acts.told))
        code, words = verdict(acts.told, acts.ledger)
        self._stage.console.print(f"[bold]{words}[/bold]", highlight=False, soft_wrap=True)
        return code

    def _plot(self, moments: list[Moment]) -> None:
        drawn = draw(moments, self._stage.console.width)
        if drawn:
            self._stage.console.print(Text.from_ansi(drawn), soft_wrap=True)

    def leave(self) -> None:
        """Neither the endpoint nor the demo's key stays behind in a cluster that ran before."""
        self._stage.delete(RESOURCE, self._endpoint.name, self._endpoint.namespace)
        if self._made_secret:
            self._stage.delete("secret", self._endpoint.secret, self._endpoint.namespace)

    def say_how_to_look(self) -> None:
        """What a person may type next, with --keep."""
        name = self._endpoint.name
        self._stage.say_how_to_look(
            "get rte,raycluster,pods,service", f"describe rte {name}", f"scale rte {name} --replicas=1"
        )

    def _key(self) -> str:
        """A key of the Secret that the endpoint names; a random one where there is no such Secret yet."""
        kubectl, secret, namespace = self._stage.kubectl, self._endpoint.secret, self._endpoint.namespace
        found = kubectl.run("get", "secret", secret, "-n", namespace, "--ignore-not-found", "-o", "json")
        if found:
            data = json.loads(found).get("data") or {}
            if not data:
                raise DemoError(f"the Secret {secret} holds no key")
            return base64.b64decode(next(iter(data.values()))).decode().strip()
        key = secrets.token_urlsafe(24)
        # By standard input: a key has no business on a command line, where every process may read it.
        words = ("create", "secret", "generic", secret, "-n", namespace, f"--from-file={CLIENT}=/dev/stdin")
        self._stage.step(f"kubectl {' '.join(words)}")
        self._stage.say(kubectl.run(*words, given=key).strip())
        self._made_secret = True
        return key
