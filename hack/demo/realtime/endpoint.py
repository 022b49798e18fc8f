"""Renders the endpoint that the demo applies, and reads from its spec what the demo has to wait for.

Pure. The volume `models` is led to the checkout's models unless the manifest already says hostPath.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from demo.errors import DemoError
from demo.manifests import MODELS_MOUNT, lead, name_of, namespace_of
from tidemill_api.v1alpha1.realtime_endpoint import KIND, RealtimeEndpointSpec

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["KIND", "DemoEndpoint", "render"]

MOST_PAUSE_SECONDS = 10.0
SHARE_OF_CALM = 1 / 3
"""The last requests of a wave, few already, are calm too."""


@dataclass(frozen=True)
class DemoEndpoint:
    """A rendered endpoint: the manifest to apply, and its spec with every default in it."""

    manifest: dict[str, Any]
    spec: RealtimeEndpointSpec

    @property
    def name(self) -> str:
        """metadata.name, also of its Service."""
        return name_of(self.manifest)

    @property
    def namespace(self) -> str:
        """metadata.namespace."""
        return namespace_of(self.manifest)

    @property
    def secret(self) -> str:
        """The Secret of its API keys; empty where everybody may ask."""
        return self.spec.auth.secret_ref.name if self.spec.auth is not None else ""

    @property
    def target_age_seconds(self) -> float:
        """How long a request may wait for its first token before the endpoint grows."""
        return self.spec.scaling.target_queue_age_milliseconds / 1000

    @property
    def awake(self) -> int:
        """Replicas that a calm endpoint keeps while somebody asks now and then."""
        return max(self.spec.replicas.min, 1)

    @property
    def crowd(self) -> int:
        """Users who, each with one request under way, make the law ask for every replica by depth alone."""
        return self.spec.scaling.target_queue_depth * self.spec.replicas.max

    @property
    def pause_seconds(self) -> float:
        """How long the waves of a crowd may be apart without the endpoint taking it for calm, or for asleep."""
        scaling = self.spec.scaling
        calm = min(scaling.scale_down.stabilization_seconds, scaling.scale_to_zero_after_seconds)
        return min(calm * SHARE_OF_CALM, MOST_PAUSE_SECONDS)


def render(manifest: dict[str, Any], models: Path) -> DemoEndpoint:
    """The manifest with its models led to this folder. Raises DemoError where its spec is none."""
    manifest = copy.deepcopy(manifest)
    spec = manifest.setdefault("spec", {})
    try:
        lead(spec.setdefault("template", {}), "models", models, MODELS_MOUNT)
        return DemoEndpoint(manifest, RealtimeEndpointSpec.model_validate(spec))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(["spec", *map(str, first["loc"])])
        raise DemoError(f"{name_of(manifest)}: {field}: {first['msg']}") from error
