"""What a log, a message or a file beside the output must not hold: secrets are blotted out, whoever wrote them.

Two nets, since libraries write what they like: the values of environment variables that are secrets by their names, and
what in a URL can be a password or a signature. Logs and outcomes pass both. Refuses to guess at anything else.
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
SHORTEST_SECRET = 6
"""A shorter value would blot out ordinary words."""

BLOT = "***"

_USER = re.compile(r"(?<=://)[^\s/@'\"]+@")
_QUERY = re.compile(r"(https?://[^\s?'\"<>]+\?)(?!\.\.\.)[^\s'\"<>]+", re.IGNORECASE)
_PARAMETER = re.compile(
    r"([?&](?:X-(?:Amz|Goog)-[A-Za-z-]+|[A-Za-z_-]*(?:signature|sig|token|key|secret|password|credential))=)[^&\s'\"<>]+",
    re.IGNORECASE,
)
"""A presigned URL's own, where only the path and the query are told, as in "GET /rows.jsonl?X-Amz-Signature=..."."""


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """`text` without the values of variables whose names say that they are secret, and without those in URLs."""
    secrets = {value for name, value in environment.items() if SECRET_NAME.search(name)}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, BLOT)
    text = _QUERY.sub(rf"\1{BLOT}", _USER.sub(f"{BLOT}@", text))
    return _PARAMETER.sub(rf"\1{BLOT}", text)


class DiscreetFormatter(logging.Formatter):
    """Time, level and message without secrets; what follows a line's end is indented, so that it starts no line.

    The operator reads the outcome from the log by the beginning of a line: no text of a row or a library may be one.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines."""
        return "\n  ".join(without_secrets(super().format(record)).splitlines())
