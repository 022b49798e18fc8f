"""What Kopf keeps on objects: nothing. Its handlers for changes would need it; we only ask it for events.

Kopf's own storages would copy and compare the whole body at each event, which is most of what an event costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import kopf

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kopf._cogs.configs.progress import ProgressRecord
    from kopf._cogs.structs.dicts import FieldSpec
    from kopf._cogs.structs.ids import HandlerId


class NoDiffBase(kopf.DiffBaseStorage):
    """No last-handled configuration: nothing is ever compared."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[FieldSpec] | None = None) -> kopf.BodyEssence:
        """What would be compared: nothing."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """What was handled last: unknown."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Kept nowhere."""


class NoProgress(kopf.ProgressStorage):
    """No progress of handlers: an event handler runs once."""

    def fetch(self, *, key: HandlerId, body: kopf.Body) -> ProgressRecord | None:
        """How far a handler got: unknown."""
        return None

    def store(self, *, key: HandlerId, record: ProgressRecord, body: kopf.Body, patch: kopf.Patch) -> None:
        """Kept nowhere."""

    def purge(self, *, key: HandlerId, body: kopf.Body, patch: kopf.Patch) -> None:
        """There is nothing to remove."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Nothing is written to wake an object up."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """The essence holds no progress."""
        return essence
