"""What a CRD says beside its schema: names, scope, printer columns. One value per kind stands beside the kind's types.

Read by the CRD generator and by whoever needs a kind's plural. Refuses to know any one kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class PrinterColumn:
    """A column of `kubectl get`. Priority 0 is always shown, 1 with `-o wide` only."""

    name: str
    type: Literal["string", "integer", "date"]
    json_path: str
    description: str
    priority: Literal[0, 1] = 0


@dataclass(frozen=True)
class Rule:
    """A CEL rule about the whole object: `self` has metadata.name beside spec. The message names the field."""

    rule: str
    message: str
    field_path: str


@dataclass(frozen=True)
class ScaleSubresource:
    """Where `kubectl scale` and a HorizontalPodAutoscaler write and read (JSON paths without array notation)."""

    spec_replicas_path: str
    status_replicas_path: str
    label_selector_path: str


@dataclass(frozen=True)
class CustomResource:
    """One namespaced kind with a status subresource, and a scale subresource where `scale` is set."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    description: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[PrinterColumn, ...]
    rules: tuple[Rule, ...] = ()
    scale: ScaleSubresource | None = None

    @property
    def singular(self) -> str:
        """The kind in lower case."""
        return self.kind.lower()
