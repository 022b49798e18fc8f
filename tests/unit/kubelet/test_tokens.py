"""When a Pod's tokens are asked for, and what for."""

import time

from pod_builders import pod

from devcluster.kubelet.states import rfc3339
from devcluster.kubelet.tokens import Tokens, renewal, request

VOLUME = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 600}}]}}


def test_a_token_is_bound_to_its_pod():
    body = request(pod("web"), ("vault", 600))
    assert body["spec"] == {
        "audiences": ["vault"],
        "expirationSeconds": 600,
        "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "uid-web"},
    }
    assert "audiences" not in request(pod("web"), ("", 600))["spec"]


def test_a_token_is_renewed_before_it_expires_and_daily():
    assert renewal(1000, 2000) == 1800
    assert renewal(0, 10 * 86400) == 86400


async def test_a_token_is_asked_for_again_only_when_it_is_due():
    asked = []
    lives = iter((-10, 3600))

    async def ask(_pod, body):
        asked.append(body)
        expires = rfc3339(time.time() + next(lives))
        return {"status": {"token": f"t{len(asked)}", "expirationTimestamp": expires}}

    tokens = Tokens(ask)
    assert tokens.next_renewal() is None
    assert await tokens.get(pod("web"), [VOLUME]) == {("", 600): b"t1"}
    assert await tokens.get(pod("web"), [VOLUME]) == {("", 600): b"t2"}
    assert await tokens.get(pod("web"), [VOLUME]) == {("", 600): b"t2"}
