"""A Pod and the API server: with its account's token it may do what the account may, by the names every Pod knows."""

import json

import pytest

from devcluster.client import PODS, Resource

pytestmark = pytest.mark.cluster

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")

ASKING = """
import json, os, ssl, urllib.error, urllib.request
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
token, namespace = (open(f"{folder}/{name}").read() for name in ("token", "namespace"))
trusting = ssl.create_default_context(cafile=f"{folder}/ca.crt")
by_address = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
def ask(server, path, headers):
    request = urllib.request.Request(server + path, headers=headers)
    try:
        with urllib.request.urlopen(request, context=trusting, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code
mine = {"Authorization": f"Bearer {token}"}
pods, secrets = (f"/api/v1/namespaces/{namespace}/{plural}" for plural in ("pods", "secrets"))
print(json.dumps({
    "pods by address": ask(by_address, pods, mine),
    "pods by name": ask("https://kubernetes.default.svc", pods, mine),
    "secrets": ask(by_address, secrets, mine),
    "pods without a token": ask(by_address, pods, {}),
}))
"""


async def test_a_pod_may_do_what_its_account_may(devcluster, client, namespace, kubectl):
    named = {"metadata": {"name": "reader"}}
    await client.create(SERVICE_ACCOUNTS, namespace, {"apiVersion": "v1", "kind": "ServiceAccount", **named})
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    await client.create(ROLES, namespace, {**named, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    subjects = [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}]
    await client.create(ROLE_BINDINGS, namespace, {**named, "roleRef": reference, "subjects": subjects})
    container = {"name": "main", "image": "python:3.11-slim", "command": ["python", "-c", ASKING]}
    spec = {"serviceAccountName": "reader", "restartPolicy": "Never", "containers": [container]}
    asking = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "asking"}, "spec": spec}
    await client.create(PODS, namespace, asking)
    kubectl("-n", namespace, "wait", "pod/asking", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=50s")
    said = kubectl("-n", namespace, "logs", "asking")
    assert json.loads(said) == {
        "pods by address": 200,
        "pods by name": 200,
        "secrets": 403,
        "pods without a token": 403,
    }
