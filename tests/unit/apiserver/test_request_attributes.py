"""What a request wants, as it is judged and as a refusal tells it."""

import pytest

from devcluster.apiserver.access.attributes import Attributes, attributes_of, refusal

RBAC = "rbac.authorization.k8s.io"


@pytest.mark.parametrize(
    ("method", "path", "query", "wanted"),
    [
        ("GET", "/api/v1/pods", {}, Attributes("list", "", "pods")),
        ("GET", "/api/v1/namespaces/n/pods", {"watch": "true"}, Attributes("watch", "", "pods", "", "n")),
        ("GET", "/api/v1/namespaces/n/pods/p", {}, Attributes("get", "", "pods", "", "n", "p")),
        ("HEAD", "/api/v1/namespaces/n/pods/p", {}, Attributes("get", "", "pods", "", "n", "p")),
        ("GET", "/api/v1/namespaces/n/pods/p/log", {"follow": "true"}, Attributes("get", "", "pods", "log", "n", "p")),
        ("POST", "/api/v1/namespaces/n/pods", {}, Attributes("create", "", "pods", "", "n")),
        ("POST", "/api/v1/namespaces/n/pods/p/eviction", {}, Attributes("create", "", "pods", "eviction", "n", "p")),
        ("PUT", "/apis/apps/v1/namespaces/n/deployments/d", {},
         Attributes("update", "apps", "deployments", "", "n", "d")),
        ("PATCH", "/apis/tidemill.dev/v1alpha1/namespaces/n/batchinferencejobs/j/status", {},
         Attributes("patch", "tidemill.dev", "batchinferencejobs", "status", "n", "j")),
        ("DELETE", "/api/v1/namespaces/n/pods/p", {}, Attributes("delete", "", "pods", "", "n", "p")),
        ("DELETE", "/api/v1/namespaces/n/pods", {}, Attributes("deletecollection", "", "pods", "", "n")),
        ("GET", "/api/v1/namespaces", {}, Attributes("list", "", "namespaces")),
        ("GET", "/api/v1/namespaces/n", {}, Attributes("get", "", "namespaces", "", "n", "n")),
        ("PUT", "/api/v1/namespaces/n/finalize", {}, Attributes("update", "", "namespaces", "finalize", "n", "n")),
        ("GET", f"/apis/{RBAC}/v1/clusterroles", {}, Attributes("list", RBAC, "clusterroles")),
        ("GET", "/apis/nobody/v1/namespaces/n/unknown", {}, Attributes("list", "nobody", "unknown", "", "n")),
        ("GET", "/api/v1/namespaces/n/secrets", {"fieldSelector": "metadata.name=s"},
         Attributes("list", "", "secrets", "", "n", "s")),
        ("GET", "/api/v1/namespaces/n/secrets", {"fieldSelector": "type=Opaque,metadata.name==s", "watch": "1"},
         Attributes("watch", "", "secrets", "", "n", "s")),
        ("GET", "/api/v1/namespaces/n/secrets", {"fieldSelector": "metadata.name!=s"},
         Attributes("list", "", "secrets", "", "n")),
        ("GET", "/apis/apps/v1", {}, Attributes("get", path="/apis/apps/v1")),
        ("GET", "/metrics", {}, Attributes("get", path="/metrics")),
        ("POST", "/anything", {}, Attributes("post", path="/anything")),
        ("OPTIONS", "/api/v1/pods", {}, Attributes("", "", "pods")),
    ],
)  # fmt: skip
def test_a_request_says_what_it_wants(method, path, query, wanted):
    assert attributes_of(method, path, query) == wanted


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Attributes("list", "", "pods", "", "y"),
         'pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "y"'),
        (Attributes("get", "apps", "deployments", "status", "y", "d"),
         'deployments.apps "d" is forbidden: User "x" cannot get resource "deployments/status" in API group "apps" '
         'in the namespace "y"'),
        (Attributes("create", "", "nodes"),
         'nodes is forbidden: User "x" cannot create resource "nodes" in API group "" at the cluster scope'),
        (Attributes("get", path="/metrics"), 'forbidden: User "x" cannot get path "/metrics"'),
    ],
)  # fmt: skip
def test_a_refusal_has_kubernetes_own_words(asked, told):
    refused = refusal("x", asked)
    assert (refused.code, refused.reason, refused.message) == (403, "Forbidden", told)
    assert refusal("x", asked, "RBAC: role not found").message == f"{told}: RBAC: role not found"
