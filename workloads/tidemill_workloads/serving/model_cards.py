"""What `/v1/models` says: the model and its adapters, from the spec alone, so that it is known at zero replicas too.

The fields are vLLM's: an adapter's `parent` is its model, `root` is where the weights are. `max_model_len` is there
where the spec says it; what the model's own config would say is not read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import msgspec

from tidemill_workloads.serving import openai_errors

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.common import ModelSpec


@dataclass(frozen=True, slots=True)
class ModelCards:
    """The cards by name, the model's first."""

    cards: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, model: ModelSpec) -> Self:
        """Of what an endpoint serves."""
        length = model.engine_args.max_model_len
        known = {} if length is None else {"max_model_len": length}

        def card(name: str, root: str, parent: str | None) -> dict[str, Any]:
            return {
                "id": name,
                "object": "model",
                "created": 0,
                "owned_by": "tidemill",
                "root": root,
                "parent": parent,
                **known,
            }

        cards = [card(model.name, model.source, None)]
        cards += [card(adapter.name, adapter.source, model.name) for adapter in model.adapters]
        return cls({entry["id"]: entry for entry in cards})

    def require(self, name: str) -> None:
        """Raises Refusal (404) for a name that is not served."""
        if name not in self.cards:
            raise openai_errors.unknown_model(name, tuple(self.cards))

    def every(self) -> bytes:
        """The list of all as JSON."""
        return msgspec.json.encode({"object": "list", "data": list(self.cards.values())})

    def one(self, name: str) -> bytes:
        """One card as JSON. Raises Refusal (404) for a name that is not served."""
        self.require(name)
        return msgspec.json.encode(self.cards[name])
