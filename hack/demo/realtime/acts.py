"""What the demo shows of an endpoint, one act after the other; each waits for what the spec promises, and no longer.

An act that does not come about ends the demo with what the conditions say. What was measured is left in `told`.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import TYPE_CHECKING

from openai import AuthenticationError

from demo.errors import DemoError
from demo.realtime.crowds import users, waves
from demo.realtime.display import Board
from demo.realtime.figures import stretch
from demo.realtime.questions import questions
from demo.realtime.summary import Told
from demo.realtime.traffic import Asker, Ledger, Service

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.realtime.endpoint import DemoEndpoint
    from demo.realtime.observing import Seen, Timeline
    from demo.stage import Stage

UP_SECONDS = 600.0
REPLICA_SECONDS = 600.0
"""A model is loaded and warm within this time, on a busy machine too."""

DECISION_SECONDS = 30.0
DRAIN_SECONDS = 180.0
"""Beyond the spec's own delays: a replica that goes finishes its requests, and its pod ends."""

STUCK_SECONDS = 15.0
"""What is awaited for so long is told as what has to be mended: nobody mends it while the demo runs."""

LAST_WAVES = 2
"""So many waves come once every replica answers, to see what they are worth."""

LOOK_SECONDS = 0.2


def count_of(replicas: int) -> str:
    """So many replicas, in words."""
    return f"{replicas} replica" + ("" if replicas == 1 else "s")


class Acts:
    """The acts on one endpoint."""

    def __init__(self, stage: Stage, endpoint: DemoEndpoint, timeline: Timeline, key: str) -> None:
        self._stage, self._endpoint, self._timeline = stage, endpoint, timeline
        self._key = key
        self.ledger = Ledger()
        self.told = Told()
        self.ready_at = math.inf
        """When the endpoint was up, in seconds of the timeline's clock; infinite before."""
        self._board = Board(timeline, self.ledger, endpoint.target_age_seconds)

    async def play(self) -> None:
        """All acts. Raises DemoError for what does not come about."""
        bounds = self._endpoint.spec.replicas
        await self._come_up()
        service = self._service()
        async with service.client() as client:
            asker = Asker(service, client)
            await self._talk(asker)
            await self._refuse(service)
            async with self._board.shown(self._stage.console, "a burst"):
                await self._crowd(asker)
            async with self._board.shown(self._stage.console, "one user is left"):
                await self._calm(asker)
            if bounds.min == 0:
                async with self._board.shown(self._stage.console, "nobody asks"):
                    await self._sleep()
                async with self._board.shown(self._stage.console, "one request wakes it"):
                    await self._wake(asker)

    async def _come_up(self) -> None:
        began = time.monotonic()
        async with self._board.shown(self._stage.console, "coming up"):
            await self._until(lambda seen: seen.ready, UP_SECONDS, "a ready endpoint", mend=True)
        self.ready_at = time.monotonic()
        self.told.up_seconds = self.ready_at - began
        self._stage.step(f"ready after {self.told.up_seconds:.0f} s")

    def _service(self) -> Service:
        """Where this machine reaches the endpoint: names of Services are known in pods only."""
        spec = self._endpoint.spec
        words = ("get", "service", self._endpoint.name, "-n", self._endpoint.namespace, "-o", "json")
        service = json.loads(self._stage.kubectl.run(*words))["spec"]
        url = f"http://{service['clusterIP']}:{service['ports'][0]['port']}/v1"
        self._stage.step(f"OpenAI client: base_url={url}")
        return Service(url, spec.model.name, self._key or "none", spec.limits.request_timeout_seconds)

    async def _talk(self, asker: Asker) -> None:
        """One question, its answer shown as it comes."""
        question = questions()[0]
        self._stage.say(f"  asked: {question}")
        self._stage.console.print("  answered: ", end="")
        write = self._stage.console.out
        answer = await asker.ask(question, lambda piece: write(" ".join(piece.split("\n")), end="", highlight=False))
        if answer.fault and asker.is_no_chat(answer):
            asker.embeds = True
            answer = await asker.ask(question)
            self._stage.console.print(answer.text, end="")
        self._stage.console.print()
        self.ledger.answers.append(answer)
        if answer.fault:
            raise DemoError(f"the endpoint does not answer: {answer.fault}")
        seconds, first = answer.ended - answer.sent, answer.first_token_seconds
        self._stage.say(f"  first token after {first * 1000:.0f} ms, {answer.tokens} tokens in {seconds:.1f} s")

    async def _refuse(self, service: Service) -> None:
        """A wrong key, unless everybody may ask."""
        if not self._key:
            return
        async with service.client("a-wrong-key") as stranger:
            try:
                await stranger.models.list()
            except AuthenticationError as error:
                self.told.refused = error.status_code
                self._stage.say(f"  a wrong key: {error.status_code} {error.body}")
                return
        raise DemoError("a wrong key was let in")

    async def _crowd(self, asker: Asker) -> None:
        """As many users as fill every replica, wave after wave, until every replica has answered some of them.

        The pauses between waves are there for machines as small as this one may be: an engine on the CPU takes every
        core as long as it has one request, and the model of the next replica has to be loaded by somebody.
        """
        endpoint = self._endpoint
        count, pause = min(endpoint.crowd, endpoint.spec.limits.queue_bound), endpoint.pause_seconds
        async with waves(count, asker, questions(), self.ledger, pause) as over:
            began = time.monotonic()
            self._stage.step(f"{count} users ask at once, read for {pause:.0f} s, and ask again")
            full = await self._grow(began)
            while sum(wave.began >= full for wave in over) < LAST_WAVES:
                self._stage.check()
                await asyncio.sleep(LOOK_SECONDS)
        sizes = [self._timeline.seen_at(wave.began).answering for wave in over]
        self.told.stretches += [
            stretch([wave for wave, its in zip(over, sizes, strict=True) if its == size], size)
            for size in sorted(set(sizes))
        ]

    async def _grow(self, began: float) -> float:
        """To every replica that the spec allows, from a burst that began then; returns when they answered."""
        most, before = self._endpoint.spec.replicas.max, self._timeline.seen.answering
        if most <= before:
            return began
        await self._until(lambda seen: seen.wanted > before, DECISION_SECONDS, "a decision to grow")
        self.told.decided_seconds = self._since(began, lambda seen: seen.wanted > before)
        wanted = count_of(self._timeline.seen.wanted)
        self._stage.step(f"{wanted} wanted {self.told.decided_seconds:.1f} s later")
        await self._until(lambda seen: seen.answering >= most, REPLICA_SECONDS, count_of(most))
        self.told.grown_seconds = self._since(began, lambda seen: seen.answering >= most)
        self._stage.step(f"{count_of(most)} answer {self.told.grown_seconds:.0f} s after the burst began")
        return began + self.told.grown_seconds

    async def _calm(self, asker: Asker) -> None:
        """One user goes on asking while replicas go; nothing of theirs may fail."""
        awake, scaling = self._endpoint.awake, self._endpoint.spec.scaling
        began = time.monotonic()
        limit = 2 * scaling.scale_down.stabilization_seconds + DRAIN_SECONDS
        async with users(1, asker, questions(), self.ledger):
            await self._until(
                lambda seen: seen.wanted == awake == seen.answering, limit, f"{count_of(awake)} once it is calm"
            )
        self.told.calm_seconds = time.monotonic() - began
        after = f"{self.told.calm_seconds:.0f} s after the burst"
        self._stage.step(f"{count_of(awake)} left {after}; one user asked all along")

    async def _sleep(self) -> None:
        began = time.monotonic()
        limit = self._endpoint.spec.scaling.scale_to_zero_after_seconds + DRAIN_SECONDS
        await self._until(lambda seen: seen.wanted == 0 == seen.answering, limit, "an endpoint that sleeps")
        self.told.asleep_seconds = time.monotonic() - began
        self._stage.step(f"no replica {self.told.asleep_seconds:.0f} s after the last request")

    async def _wake(self, asker: Asker) -> None:
        """One request while nothing runs: held by the ingress on the head until a replica answers it."""
        answer = await asker.ask(questions()[1])
        self.ledger.answers.append(answer)
        self.told.held_seconds = answer.first_token_seconds
        if not answer.fault:
            self._stage.step(f"the held request was answered after {answer.first_token_seconds:.1f} s")

    def _since(self, began: float, fits: Callable[[Seen], bool]) -> float:
        """Seconds from `began` to the first version that fits; there is one."""
        found = self._timeline.first_time(began, fits)
        return (found or time.monotonic()) - began

    async def _until(self, fits: Callable[[Seen], bool], seconds: float, what: str, *, mend: bool = False) -> None:
        """Waits until the newest version fits.

        Raises DemoError when it takes longer, or, with `mend`, when the conditions say that a person has to mend
        something.
        """
        deadline = time.monotonic() + seconds
        stuck = time.monotonic() + STUCK_SECONDS
        while not fits(self._timeline.seen):
            self._stage.check()
            seen = self._timeline.seen
            if not seen.awaits_mending:
                stuck = time.monotonic() + STUCK_SECONDS
            if time.monotonic() > min(deadline, stuck if mend else deadline):
                doing = seen.condition("Progressing")
                raise DemoError(f"{what} did not come about: {doing.reason}: {doing.message}")
            await asyncio.sleep(LOOK_SECONDS)
