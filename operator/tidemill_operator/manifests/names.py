"""Names of children and of submissions: made from the owner's name and uid alone, so that a retry repeats itself."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidemill_api.job_contract import Ending

MAX_CLUSTER_NAME = 53
"""KubeRay derives Service and pod names from a RayCluster's name and allows it this many characters."""

HASH_CHARACTERS = 10


def cluster_name(owner: str, uid: str) -> str:
    """The RayCluster's name: readable, at most 53 characters, DNS-1035, and another one for each uid."""
    digest = hashlib.sha256(uid.encode()).hexdigest()[:HASH_CHARACTERS]
    readable = re.sub(r"[^a-z0-9-]", "-", owner.lower())
    if not readable[:1].isalpha():
        readable = f"job-{readable}"
    return f"{readable[: MAX_CLUSTER_NAME - HASH_CHARACTERS - 1].rstrip('-')}-{digest}"


def secret_name(cluster: str) -> str:
    """The name of the Secret that holds the token of a RayCluster."""
    return f"{cluster}-token"


def submission_id(uid: str, attempt: int, ending: Ending | None = None) -> str:
    """Ray's id of an attempt: the same on every try, so that submitting twice runs once.

    An attempt that ends the job has a name of its own: one that was submitted to run rows, just before the operator
    was killed, must not pass for it.
    """
    return f"{uid}-{attempt}-{ending.lower()}" if ending else f"{uid}-{attempt}"


def label_value(name: str) -> str:
    """An object's name as a label value: cut to 63 characters, ending in an alphanumeric one."""
    return name[:63].rstrip("-._")
