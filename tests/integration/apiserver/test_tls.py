"""TLS, tokens and reviews over HTTP, and the official client as a Pod uses it."""

import asyncio
import json
import ssl

import aiohttp
import pytest
import pytest_asyncio
from api_server_process import Http, config_map, until
from api_users import serving
from kubernetes.aio import client as official
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

RBAC = "/apis/rbac.authorization.k8s.io/v1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"


class Secure(Http):
    """HTTP to the TLS address, trusting the server's authority alone; with a token where one is set."""

    token = ""

    async def __call__(self, method, path, body=None, code=None, **options):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return await super().__call__(method, path, body, code, headers=headers, **options)


@pytest_asyncio.fixture
async def secure(server):
    """Nobody, over TLS."""
    found = serving(server.folder / "data")
    trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=found["ca"]))
    async with aiohttp.ClientSession(connector=trusting) as session:
        yield Secure(session, found["url"])


@pytest_asyncio.fixture
async def robot(http, namespace, secure):
    """A ServiceAccount's token, and the same HTTP with it."""
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await http("POST", accounts, {"metadata": {"name": "robot"}}, code=201)
    made = await http("POST", f"{accounts}/robot/token", {"spec": {"expirationSeconds": 600}}, code=201)
    secure.token = made["status"]["token"]
    return secure


async def give(http, namespace, *rules):
    """Give the robot a role, and return what to delete to take it away."""
    name = {"metadata": {"name": "given"}}
    await http("POST", f"{RBAC}/namespaces/{namespace}/roles", {**name, "rules": list(rules)}, code=201)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "given"}
    subjects = [{"kind": "ServiceAccount", "name": "robot", "namespace": namespace}]
    bindings = f"{RBAC}/namespaces/{namespace}/rolebindings"
    await http("POST", bindings, {**name, "roleRef": reference, "subjects": subjects}, code=201)
    return f"{bindings}/given"


def rule(resource, *verbs):
    return {"apiGroups": [""], "resources": [resource], "verbs": list(verbs)}


async def test_nobody_may_see_the_health_and_nothing_else(secure):
    assert await secure("GET", "/healthz", code=200) == "ok"
    assert (await secure("GET", "/version", code=200))["major"] == "1"
    for path in ("/api", "/apis", "/api/v1/namespaces", "/openapi/v3", "/apis/nobody/v1/secrets", "/nonsense"):
        told = await secure("GET", path, code=403)
        assert 'User "system:anonymous" cannot' in told["message"]


async def test_an_unknown_token_is_refused_on_either_listener(secure, http):
    secure.token = "unknown"
    told = await secure("GET", "/healthz", code=401)
    assert (told["reason"], told["message"]) == ("Unauthorized", "Unauthorized")
    await http("GET", "/api/v1/pods", code=401, headers={"Authorization": "Bearer unknown"})
    assert (await http("GET", "/api/v1/pods"))[0] == 200


async def test_what_does_not_exist_is_refused_like_what_does(robot, http):
    path = "/apis/nobody/v1/namespaces/default/secrets"
    assert 'resource "secrets" in API group "nobody"' in (await robot("GET", path, code=403))["message"]
    await http("GET", path, code=404)


async def test_a_watch_goes_on_after_its_right_is_taken_away(robot, http, namespace, maps):
    binding = await give(http, namespace, rule("configmaps", "watch"))
    query = {"watch": "true", "fieldSelector": "metadata.name!=kube-root-ca.crt"}
    headers = {"Authorization": f"Bearer {robot.token}"}
    async with robot.session.get(robot.url + maps, params=query, headers=headers) as response:
        assert response.status == 200
        await http("DELETE", binding, code=200)
        await robot("GET", maps, code=403, watch="true")
        await http("POST", maps, config_map(), code=201)
        event = json.loads(await asyncio.wait_for(response.content.readline(), 10))
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "c")


async def test_a_list_of_one_name_needs_the_right_to_that_name_alone(robot, http, namespace, maps):
    await give(http, namespace, {**rule("configmaps", "list", "update"), "resourceNames": ["c"]})
    await http("POST", maps, config_map(), code=201)
    listed = await robot("GET", maps, code=200, fieldSelector="metadata.name=c")
    assert [item["metadata"]["name"] for item in listed["items"]] == ["c"]
    await robot("GET", maps, code=403)
    await robot("GET", maps, code=403, fieldSelector="metadata.name=d")
    await robot("PUT", f"{maps}/c", config_map(a="1"), code=200)


async def test_the_official_client_works_as_in_a_pod(robot, http, namespace, maps, tmp_path, server):
    await give(http, namespace, rule("configmaps", "get", "list", "watch"))
    found = serving(server.folder / "data")
    (tmp_path / "token").write_text(robot.token)
    environment = {"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": str(found["tls_port"])}
    loader = InClusterConfigLoader(str(tmp_path / "token"), found["ca"], environ=environment)
    configuration = official.Configuration()
    loader.load_and_set(configuration)
    async with official.ApiClient(configuration) as api:
        core = official.CoreV1Api(api)
        listed = await core.list_namespaced_config_map(namespace)
        assert [item.metadata.name for item in listed.items] == ["kube-root-ca.crt"]
        assert listed.items[0].data["ca.crt"] == server.folder.joinpath("data/pki/ca.crt").read_text()
        with pytest.raises(official.ApiException) as refused:
            await core.list_namespaced_secret(namespace)
        assert refused.value.status == 403


async def test_reviews_say_who_may_and_whose_a_token_is(robot, http, namespace):
    await give(http, namespace, rule("pods", "get"))
    user = f"system:serviceaccount:{namespace}:robot"
    wanted = {"namespace": namespace, "verb": "get", "resource": "pods"}
    review = {"spec": {"user": user, "resourceAttributes": wanted}}
    answered = await http("POST", f"{AUTHORIZATION}/subjectaccessreviews", review, code=201)
    told = f'RBAC: allowed by RoleBinding "given/{namespace}" of Role "given" to ServiceAccount "robot/{namespace}"'
    assert answered["status"] == {"allowed": True, "reason": told}
    local = f"{AUTHORIZATION}/namespaces/{namespace}/localsubjectaccessreviews"
    assert (await http("POST", local, review, code=201))["status"]["allowed"]
    await http("POST", local.replace(namespace, "default"), review, code=400)
    review["spec"]["resourceAttributes"] = {**wanted, "verb": "delete"}
    answered = await http("POST", f"{AUTHORIZATION}/subjectaccessreviews", review, code=201)
    assert answered["status"] == {"allowed": False}
    await http("POST", f"{AUTHORIZATION}/subjectaccessreviews", {"spec": {"user": user}}, code=422)
    await robot("POST", f"{AUTHORIZATION}/subjectaccessreviews", review, code=403)
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    found = (await http("POST", reviews, {"spec": {"token": robot.token}}, code=201))["status"]
    assert (found["authenticated"], found["user"]["username"]) == (True, user)
    other = {"spec": {"token": robot.token, "audiences": ["vault"]}}
    assert "authenticated" not in (await http("POST", reviews, other, code=201))["status"]
    assert "error" in (await http("POST", reviews, {"spec": {"token": "unknown"}}, code=201))["status"]


async def test_a_token_is_over_with_its_account(robot, http, namespace):
    await robot("GET", "/api", code=200)
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    await http("DELETE", f"{accounts}/robot", code=200)
    await robot("GET", "/api", code=401)
    await http("POST", accounts, {"metadata": {"name": "robot"}}, code=201)
    await robot("GET", "/api", code=401)


async def test_the_certificate_holds_the_addresses_of_the_kubernetes_service(http, secure):
    services = "/api/v1/namespaces/default/services"
    service = {"metadata": {"name": "kubernetes"}, "spec": {"ports": [{"port": 443}]}}
    made = await http("POST", services, service, code=201)
    address = made["spec"]["clusterIP"]
    port = int(secure.url.rpartition(":")[2])
    trusting = secure.session.connector._ssl

    async def named():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname=address)
        except ssl.SSLCertVerificationError:
            return False
        writer.close()
        await writer.wait_closed()
        return True

    try:
        await until(named)
    finally:
        await http("DELETE", f"{services}/kubernetes", code=200)


async def test_address_authority_and_tokens_outlive_a_kill(own_server):
    data = own_server.folder / "data"
    before = serving(data)
    accounts = "/api/v1/namespaces/default/serviceaccounts/default"
    async with aiohttp.ClientSession() as session:
        made = await Http(session, own_server.url)("POST", f"{accounts}/token", {}, code=201)
    own_server.kill()
    own_server.start()
    assert serving(data) == before
    trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=before["ca"]))
    async with aiohttp.ClientSession(connector=trusting) as session:
        secure = Secure(session, before["url"])
        secure.token = made["status"]["token"]
        await secure("GET", "/api", code=200)
