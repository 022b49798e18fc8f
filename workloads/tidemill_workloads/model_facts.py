"""What a model's own files tell about the requests that it can take: read in milliseconds, without vLLM or weights.

Everything here errs on one side: what is not plainly told is None, and validation then asks vLLM itself. Files of a hub
id come from the hub's client and its cache.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill_workloads.chat_template import ChatTemplate, compile_template
from tidemill_workloads.locations import is_local
from tidemill_workloads.token_bounds import TokenBound, bound_of
from tidemill_workloads.urls import CHAT, COMPLETIONS, EMBEDDINGS, URLS

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.common import ModelSpec

_LENGTH_KEYS = (
    "max_position_embeddings",
    "original_max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "max_seq_length",
    "max_sequence_length",
    "seq_length",
    "seq_len",
    "model_max_length",
    "max_target_positions",
    "sliding_window",
)
"""Every key from which vLLM may take a model's length, and those that may shorten it."""

_OTHER_RENDERERS = (
    "tekken.json",
    "params.json",
    "processor_config.json",
    "preprocessor_config.json",
    "chat_template.json",
    "additional_chat_templates",
)
"""Files with which vLLM may render by other means than tokenizer and template."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What can be said of a model without asking vLLM."""

    known: bool
    """Whether this is a model for vLLM at all: its config names an architecture."""
    urls: tuple[str, ...] | None
    length: int | None
    """Tokens of prompt and answer together that the model has at least room for."""
    vocabulary: int
    """Token numbers below this are in the vocabulary."""
    bound: TokenBound | None
    template: ChatTemplate | None


def read_facts(model: ModelSpec) -> ModelFacts:
    """The facts of the model that a job names; its files were found readable before."""
    files = _Files(model.source)
    config = files.json("config.json")
    names = [name for name in config.get("architectures") or () if isinstance(name, str)]
    settings = files.json("tokenizer_config.json")
    text_only = not any(files.has(name) for name in _OTHER_RENDERERS)
    lower_cased = bool(files.json("sentence_bert_config.json").get("do_lower_case"))
    bound = bound_of(files.json("tokenizer.json"), settings) if text_only and not lower_cased else None
    return ModelFacts(
        known=bool(names),
        urls=_urls(names, files.value("modules.json")) if names else URLS,
        length=model.engine_args.max_model_len or _least_length(config, settings, files),
        vocabulary=_vocabulary(config),
        bound=bound,
        template=_template(files, settings) if text_only else None,
    )


def _urls(architectures: list[str], modules: Any) -> tuple[str, ...] | None:
    """What vLLM serves for the plain cases of its own rule (`ModelConfig._get_default_runner_type`)."""
    steps = [str(step.get("type")) for step in modules if isinstance(step, dict)] if isinstance(modules, list) else []
    if any(step.endswith(".Pooling") for step in steps):  # a Sentence Transformers model
        return (EMBEDDINGS,) if all(name.endswith(("Model", "ForCausalLM")) for name in architectures) else None
    if all(name.endswith("ForCausalLM") for name in architectures):
        return (CHAT, COMPLETIONS)
    return None


def _least_length(config: dict[str, Any], settings: dict[str, Any], files: _Files) -> int | None:
    """The least of all the lengths that the model's files name: vLLM's own choice is never below it."""
    places = [config, config.get("text_config"), files.json("sentence_bert_config.json"), settings]
    found = [place.get(key) for place in places if isinstance(place, dict) for key in _LENGTH_KEYS]
    lengths = [length for length in found if type(length) is int and length > 0]
    return min(lengths, default=None)


def _vocabulary(config: dict[str, Any]) -> int:
    size = config.get("vocab_size")
    return size if isinstance(size, int) else 0


def _template(files: _Files, settings: dict[str, Any]) -> ChatTemplate | None:
    source = files.text("chat_template.jinja") or settings.get("chat_template")
    if not isinstance(source, str):
        return None
    stated = files.json("special_tokens_map.json") | settings
    tokens = {name: _token_text(value) for name, value in stated.items() if name.endswith("_token")}
    return compile_template(source, {name: text for name, text in tokens.items() if text is not None})


def _token_text(value: Any) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of a model, in a folder or on the hub; one that is not there or not readable reads as empty."""

    source: str

    def has(self, name: str) -> bool:
        return self._path(name) is not None

    def text(self, name: str) -> str:
        path = self._path(name)
        try:
            return path.read_text(encoding="utf-8") if path is not None else ""
        except (OSError, UnicodeDecodeError):
            return ""

    def value(self, name: str) -> Any:
        try:
            return json.loads(self.text(name) or "null")
        except ValueError:
            return None

    def json(self, name: str) -> dict[str, Any]:
        value = self.value(name)
        return value if isinstance(value, dict) else {}

    def _path(self, name: str) -> Path | None:
        if is_local(self.source):
            path = Path(self.source) / name
            return path if path.exists() else None
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, HFValidationError

        try:
            return Path(hf_hub_download(self.source, name))
        except (OSError, EntryNotFoundError, HFValidationError):
            return None
