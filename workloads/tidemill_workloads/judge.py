"""Would the engine take this body? The last rules of a line: its parameters and the length of its prompt.

Three steps, each only for the rows that the one before could not clear. Plain requests whose prompt is short by a
proven bound cost microseconds and import nothing; so do others with a plain prompt and parameters that vLLM has
accepted on an earlier row. Any other body is parsed by vLLM's own request type. Where the model is known, vLLM's front
end then renders, counts and checks it as its server would. A row that is cleared is one that the engine's server takes;
a row that is refused is one that it refuses.

Not judged here: the size of media in a row, which only the engine's processor knows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from tidemill_workloads.engine.arguments import engine_environment
from tidemill_workloads.model_facts import ModelFacts, read_facts
from tidemill_workloads.plain_requests import is_plain, output_cap, parameters_key, prompts
from tidemill_workloads.shapes import check_shape, has_media
from tidemill_workloads.token_bounds import TextSize
from tidemill_workloads.urls import CHAT, EMBEDDINGS, URLS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidemill_workloads.engine.interface import EngineSettings
    from tidemill_workloads.front_end import FrontEnd
    from tidemill_workloads.request_types import RequestTypes

log = logging.getLogger(__name__)

MAX_ACCEPTED = 4096
"""Remembered sets of parameters that vLLM has accepted."""


@dataclass(slots=True)
class Judge:
    """The rules of one job's model. Loads vLLM when it first has to, and keeps it until its `with` block ends."""

    settings: EngineSettings
    facts: ModelFacts
    _types: RequestTypes | None = None
    _front_end: FrontEnd | None = None
    _has_front_end: bool = True
    _urls: tuple[str, ...] | None = None
    _accepted: set[bytes] = field(default_factory=set)
    _environment: dict[str, str] | None = None
    models: tuple[str, ...] = field(init=False)
    """The names that rows may ask for."""

    def __post_init__(self) -> None:
        self.models = self.settings.model.names  # once, not for each row

    @classmethod
    def of(cls, settings: EngineSettings) -> Judge:
        """The judge for a model whose files were found readable."""
        return cls(settings, read_facts(settings.model))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends what vLLM holds open, and forgets what it set in the environment: a driver inherits it."""
        if self._front_end is not None:
            self._front_end.close()
        if self._environment is not None:
            for name in os.environ.keys() - self._environment.keys():
                del os.environ[name]
            os.environ.update(self._environment)

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs that the model serves, all where neither its files nor vLLM tell."""
        if self._urls is None:
            self._urls = self.facts.urls
        if self._urls is None:
            self._urls = self.front_end.urls if self.front_end is not None else URLS
        return self._urls

    @property
    def types(self) -> RequestTypes:
        """VLLM's request types."""
        if self._types is None:
            began = time.monotonic()
            self._set_environment()
            with _warnings_aside():
                from tidemill_workloads.request_types import RequestTypes

                self._types = RequestTypes()
            log.info("vLLM's request types loaded in %.1f s", time.monotonic() - began)
        return self._types

    @property
    def front_end(self) -> FrontEnd | None:
        """VLLM's front end for the model, None where there is none: then only the engine can judge lengths."""
        if self._front_end is None and self._has_front_end:
            began = time.monotonic()
            self._set_environment()
            try:
                with _warnings_aside():
                    from tidemill_workloads.front_end import FrontEnd

                    self._front_end = FrontEnd(self.settings)
            except (
                Exception
            ):  # whatever vLLM misses on a head without the engine's device: its start on a worker decides
                self._has_front_end = False
                log.warning("vLLM's front end takes no model here; lengths are left to the engine", exc_info=True)
            else:
                log.info("vLLM's front end for the model built in %.1f s", time.monotonic() - began)
        return self._front_end

    def _set_environment(self) -> None:
        """As for the engine: vLLM reads its variables when it is imported."""
        if self._environment is None:
            self._environment = dict(os.environ)
        os.environ.update(engine_environment(self.settings, dict(os.environ)))

    def check(self, url: str, body: dict[str, Any]) -> None:
        """Raises BadLine where the engine's server would refuse `body`, which may be changed."""
        if is_plain(url, body):
            if not self._surely_fits(url, body):
                self._ask_vllm(url, body)
            return
        parameters = parameters_key(url, body)
        if parameters in self._accepted and self._surely_fits(url, body):
            return
        check_shape(url, body)
        self._ask_vllm(url, body)
        if parameters is not None and len(self._accepted) < MAX_ACCEPTED:
            self._accepted.add(parameters)

    def _ask_vllm(self, url: str, body: dict[str, Any]) -> None:
        judged_whole = self.facts.known and not has_media(body)
        types, front_end = self.types, self.front_end if judged_whole else None
        with _warnings_aside():
            request = types.parse(url, body)
            verdict = front_end.judge(url, request) if front_end is not None else None
        if verdict is not None:
            raise verdict

    def _surely_fits(self, url: str, body: dict[str, Any]) -> bool:
        """Whether a request with a plain prompt is within the model's length by what the model's files tell.

        The engine's rule is `FrontEnd`'s: prompt and cap each within the length, and room left for one token.
        """
        facts = self.facts
        if not facts.known:
            return True
        cap = output_cap(body)  # vLLM takes "100" for a number, and so its caller may have been here before
        if facts.length is None or facts.bound is None or type(cap) is not int or cap > facts.length:
            return False
        room = facts.length if url == EMBEDDINGS else facts.length - 1
        if url == CHAT:
            # A message is a token at least, and measuring a template takes time with the square of their number.
            template = facts.template if len(body["messages"]) <= room else None
            size = template.size(body["messages"]) if template is not None else None
            return size is not None and facts.bound.most(size) <= room
        for prompt in prompts(body["input" if url == EMBEDDINGS else "prompt"]):
            if isinstance(prompt, str):
                if facts.bound.most(TextSize.of(prompt)) > room:
                    return False
            elif len(prompt) > room or max(prompt) >= facts.vocabulary:
                return False
        return True


@contextlib.contextmanager
def _warnings_aside() -> Iterator[None]:
    """What vLLM warns of, such as its own deprecated fields, is nothing that a row's author or this code can mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
