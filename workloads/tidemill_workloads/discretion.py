"""What a log, a message or a file beside the output must not hold: secrets are blotted out, whoever wrote them.

Two nets, since libraries write what they like: the values of environment variables that are secrets by their names, and
what in a URL can be a password or a signature. Logs and outcomes pass both. Refuses to guess at anything else.
"""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING

from tidemill_api.v1alpha1.uris import BLOT, without_signatures

if TYPE_CHECKING:
    from collections.abc import Mapping

SECRET_NAME = re.compile(r"KEY|SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
SHORTEST_SECRET = 6
"""A shorter value would blot out ordinary words."""


def without_secrets(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """`text` without the values of variables whose names say that they are secret, and without those in URLs."""
    secrets = {value for name, value in environment.items() if SECRET_NAME.search(name)}
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, BLOT)
    return without_signatures(text)


class DiscreetFormatter(logging.Formatter):
    """Time, level and message without secrets; what follows a line's end is indented, so that it starts no line.

    The operator reads the outcome from the log by the beginning of a line: no text of a row or a library may be one.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """The record's lines."""
        return "\n  ".join(without_secrets(super().format(record)).splitlines())
