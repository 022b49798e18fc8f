"""Whom a request acts as, and what its sender must be allowed for that."""

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from devcluster.apiserver.access.attributes import Attributes
from devcluster.apiserver.access.authentication import authenticate, impersonated
from devcluster.apiserver.access.tokens import InvalidTokenError
from devcluster.apiserver.access.users import ADMINISTRATOR, ANONYMOUS, User
from devcluster.apiserver.errors import StatusError


def headers(*pairs):
    return CIMultiDictProxy(CIMultiDict(pairs))


def may(resource, name, namespace="", subresource="", group=""):
    return Attributes("impersonate", group, resource, subresource, namespace, name)


AUTHENTICATION = "authentication.k8s.io"


@pytest.mark.parametrize(
    ("given", "user", "asked"),
    [
        ([("Impersonate-User", "ann")], User("ann", ("system:authenticated",)), [may("users", "ann")]),
        ([("Impersonate-User", "ann"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b")],
         User("ann", ("a", "b", "system:authenticated")),
         [may("users", "ann"), may("groups", "a"), may("groups", "b")]),
        ([("Impersonate-User", "system:serviceaccount:n:robot")],
         User("system:serviceaccount:n:robot",
              ("system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated")),
         [may("serviceaccounts", "robot", "n")]),
        ([("Impersonate-User", "system:serviceaccount:n:robot"), ("Impersonate-Group", "a")],
         User("system:serviceaccount:n:robot", ("a", "system:authenticated")),
         [may("serviceaccounts", "robot", "n"), may("groups", "a")]),
        ([("Impersonate-User", "system:anonymous")], User("system:anonymous", ("system:unauthenticated",)),
         [may("users", "system:anonymous")]),
        ([("Impersonate-User", "ann"), ("Impersonate-Uid", "7"), ("Impersonate-Extra-Scopes", "x"),
          ("Impersonate-Extra-acme.com%2Fproject", "y")],
         User("ann", ("system:authenticated",), "7", (("acme.com/project", ("y",)), ("scopes", ("x",)))),
         [may("users", "ann"), may("uids", "7", group=AUTHENTICATION),
          may("userextras", "x", subresource="scopes", group=AUTHENTICATION),
          may("userextras", "y", subresource="acme.com/project", group=AUTHENTICATION)]),
    ],
)  # fmt: skip
def test_a_request_acts_as_whom_its_headers_name(given, user, asked):
    assert impersonated(headers(*given)) == (user, asked)


def test_a_request_without_the_headers_acts_as_its_sender():
    assert impersonated(headers(("Accept", "*/*"))) is None


def test_groups_without_a_user_are_a_mistake():
    with pytest.raises(StatusError) as refused:
        impersonated(headers(("Impersonate-Group", "system:masters")))
    assert refused.value.code == 400


class OneToken:
    """Stands for `Tokens`: knows one token."""

    def user(self, token):
        if token != "good":
            raise InvalidTokenError("no")
        return User("robot"), []


@pytest.mark.parametrize(
    ("given", "secure", "user"),
    [
        ([], False, ADMINISTRATOR),
        ([], True, ANONYMOUS),
        ([("Authorization", "Basic YTpi")], True, ANONYMOUS),
        ([("Authorization", "Bearer ")], True, ANONYMOUS),
        ([("Authorization", "Bearer good")], False, User("robot")),
        ([("Authorization", "bearer good")], True, User("robot")),
        ([("Authorization", "Bearer bad")], False, None),
        ([("Authorization", "Bearer bad")], True, None),
    ],
)
def test_the_sender_is_known_by_token_or_address(given, secure, user):
    if user is not None:
        assert authenticate(OneToken(), headers(*given), secure=secure) == user
        return
    with pytest.raises(StatusError) as refused:
        authenticate(OneToken(), headers(*given), secure=secure)
    assert (refused.value.code, refused.value.message) == (401, "Unauthorized")
