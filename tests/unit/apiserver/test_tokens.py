"""Tokens of ServiceAccounts, over a clock of our own: whose they are, and when they are worth nothing."""

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from devcluster.apiserver.access.tokens import ISSUER, InvalidTokenError, Tokens, TokenSpec
from devcluster.apiserver.objects import format_time
from devcluster.apiserver.store import Key, Store

ACCOUNT = Key("/serviceaccounts", "n", "robot")
POD = Key("/pods", "n", "p")


def document(key, uid, **fields):
    return {"metadata": {"name": key.name, "namespace": key.namespace, "uid": uid, **fields}}


class World:
    """A store with an account and a Pod of it, and tokens over a clock that stands still."""

    def __init__(self, folder):
        self.folder = folder
        self.now = 1_700_000_000.0
        self.store = Store(folder / "objects.sqlite3")
        self.account = self.store.create(ACCOUNT, document(ACCOUNT, "uid-robot")).document
        self.store.create(POD, document(POD, "uid-p"))
        self.tokens = self.opened()

    def opened(self):
        return Tokens(self.store, self.folder / "key", lambda: self.now)

    def issue(self, **spec):
        return self.tokens.issue(self.account, TokenSpec(**spec))[0]

    def refusal(self, token, **options):
        with pytest.raises(InvalidTokenError) as refused:
            self.tokens.user(token, **options)
        return str(refused.value)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.store.close()


def test_a_token_says_whose_it_is(world):
    token = world.issue(bound={"pod": ("p", "uid-p"), "node": ("a", "uid-a")})
    user, audiences = world.tokens.user(token)
    assert (user.name, user.uid, audiences) == ("system:serviceaccount:n:robot", "uid-robot", [ISSUER])
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated")
    extra = dict(user.extra)
    assert extra.pop("authentication.kubernetes.io/credential-id")[0].startswith("JTI=")
    assert extra == {
        "authentication.kubernetes.io/pod-name": ("p",),
        "authentication.kubernetes.io/pod-uid": ("uid-p",),
        "authentication.kubernetes.io/node-name": ("a",),
        "authentication.kubernetes.io/node-uid": ("uid-a",),
    }


def test_a_token_has_the_claims_that_clients_read(world):
    claims = jwt.decode(world.issue(seconds=700), options={"verify_signature": False})
    assert claims.pop("jti")
    assert claims == {
        "iss": ISSUER, "sub": "system:serviceaccount:n:robot", "aud": [ISSUER],
        "iat": 1_700_000_000, "nbf": 1_700_000_000, "exp": 1_700_000_700,
        "kubernetes.io": {"namespace": "n", "serviceaccount": {"name": "robot", "uid": "uid-robot"}},
    }  # fmt: skip


def test_a_token_ends_with_its_time(world):
    token = world.issue(seconds=600)
    world.now += 599
    assert world.tokens.user(token)
    world.now += 1
    assert world.refusal(token) == "service account token has expired"


def test_a_token_outlives_the_server(world):
    token = world.issue()
    assert world.opened().user(token)[0].uid == "uid-robot"
    assert (world.folder / "key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("gone", [ACCOUNT, POD])
def test_a_token_ends_with_what_it_is_bound_to(world, gone):
    token = world.issue(bound={"pod": ("p", "uid-p")})
    assert world.tokens.user(token)
    world.store.delete(gone)
    assert "deleted" in world.refusal(token) or "invalidated" in world.refusal(token)
    world.store.create(gone, document(gone, "another"))
    assert world.refusal(token), "another object of the name is not the one the token was made for"


def test_a_pod_that_is_going_keeps_its_token_until_its_grace_period_is_over(world):
    token = world.issue(bound={"pod": ("p", "uid-p")})
    ends = datetime.fromtimestamp(world.now, UTC) + timedelta(seconds=30)
    world.store.update(POD, document(POD, "uid-p", deletionTimestamp=format_time(ends)))
    world.now += 80
    assert world.tokens.user(token)
    world.now += 11
    assert "its pod is gone" in world.refusal(token)


def test_a_token_for_others_is_not_for_this_server(world):
    token = world.issue(audiences=("vault",))
    assert "audience" in world.refusal(token)
    assert world.tokens.user(token, audiences=("vault", "other"))[1] == ["vault"]


def forged(claims, key, algorithm="ES256"):
    return jwt.encode(claims, key, algorithm=algorithm)


def test_forged_tokens_are_refused(world):
    token = world.issue()
    claims = jwt.decode(token, options={"verify_signature": False})
    head, _, signature = token.split(".")
    other = {**claims, "sub": "system:serviceaccount:kube-system:admin"}
    body_of_another = base64.urlsafe_b64encode(json.dumps(other).encode()).decode().rstrip("=")
    unsigned = jwt.encode(claims, None, algorithm="none")
    for bad in (
        forged(claims, ec.generate_private_key(ec.SECP256R1())),
        f"{head}.{body_of_another}.{signature}",
        unsigned,
        forged(claims, "x" * 32, "HS256"),
        "nonsense",
        "a.b.c",
        "",
        "\N{SNOWMAN}",
    ):
        assert world.refusal(bad).startswith("invalid bearer token")


def test_a_token_of_another_issuer_is_refused(world):
    claims = jwt.decode(world.issue(), options={"verify_signature": False})
    assert "ssuer" in world.refusal(forged({**claims, "iss": "https://elsewhere"}, world.tokens._key))
