"""The alert webhook: who may call it, what it refuses, and what it writes onto the objects."""

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tidemill_api.labels import SCALING_BOOST
from tidemill_operator.alert_webhook import MOST_BYTES, Writer, application, authorised, served
from tidemill_operator.config import Settings
from tidemill_operator.core.boost import read_boost
from tidemill_operator.errors import ApiUnavailableError, ConfigError, ConflictError, ObjectMissingError

BEGAN = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOKEN = "a-long-token"


class ApiServer:
    """Stands for the API server: objects by plural, namespace and name, and a version that a write has to name."""

    def __init__(self, *names):
        self.objects = {name: {"metadata": {"resourceVersion": "1", "uid": "u", "annotations": {}}} for name in names}
        self.writes = 0
        self.conflicts = 0
        self.down = False

    async def get(self, resource, namespace, name):
        if self.down:
            raise ApiUnavailableError("down")
        try:
            return json.loads(json.dumps(self.objects[resource.plural, namespace, name]))
        except KeyError:
            raise ObjectMissingError(name) from None

    async def merge(self, resource, namespace, name, body):
        metadata = self.objects[resource.plural, namespace, name]["metadata"]
        if self.conflicts:
            self.conflicts -= 1
            metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        if body["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise ConflictError(name)
        for key, value in body["metadata"]["annotations"].items():
            metadata["annotations"].pop(key, None)
            metadata["annotations"] |= {key: value} if value is not None else {}
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)
        self.writes += 1

    def boost(self, *name):
        return read_boost(self.objects[name]["metadata"]["annotations"].get(SCALING_BOOST))


JOB = ("batchinferencejobs", "team", "tickets")
ENDPOINT = ("realtimeendpoints", "team", "chat")


def alert(status="firing", kind="BatchInferenceJob", name="tickets", **labels):
    ours = {"alertname": "Old", "tidemill_kind": kind, "namespace": "team", "name": name, "severity": "warning"}
    return {
        "status": status,
        "labels": ours | labels,
        "annotations": {},
        "startsAt": BEGAN.isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": "f",
    }


def notification(*alerts):
    return {"version": "4", "groupKey": "{}", "status": "firing", "receiver": "tidemill", "alerts": list(alerts)}


@pytest.fixture
def api():
    return ApiServer(JOB, ENDPOINT)


@pytest.fixture
def token_file(tmp_path):
    file = tmp_path / "credentials"
    file.write_text(TOKEN + "\n")
    return file


@asynccontextmanager
async def client(api, token_file, namespaces=()):
    writer = Writer(api, namespaces, now=lambda: BEGAN + timedelta(minutes=1))
    async with TestClient(TestServer(application(writer, token_file))) as opened:
        yield opened


async def send(api, token_file, body, *, namespaces=(), **headers):
    """Status and decoded answer of one notification; a dict is sent as JSON."""
    given = {"Authorization": f"Bearer {TOKEN}", **headers}
    data = json.dumps(body) if isinstance(body, dict) else body
    async with client(api, token_file, namespaces) as opened:
        answer = await opened.post("/alerts", data=data, headers=given)
        return answer.status, await answer.json()


async def test_a_firing_alert_boosts_the_job_that_it_is_about(api, token_file):
    status, answer = await send(api, token_file, notification(alert()))
    assert (status, answer) == (200, {"objects": 1, "changed": 1})
    boost = api.boost(*JOB)
    assert (boost.factor, boost.until, boost.alert) == (1.5, BEGAN + timedelta(minutes=15), "Old")
    assert api.boost(*ENDPOINT) is None


async def test_a_repeat_writes_nothing(api, token_file):
    for _ in range(3):
        await send(api, token_file, notification(alert()))
    assert api.writes == 1


async def test_a_resolved_alert_takes_its_boost_away(api, token_file):
    await send(api, token_file, notification(alert()))
    await send(api, token_file, notification(alert("resolved")))
    assert SCALING_BOOST not in api.objects[JOB]["metadata"]["annotations"]


@pytest.mark.parametrize("began", ["2100-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
async def test_an_alert_that_began_in_the_future_boosts_no_longer_than_any_other(api, token_file, began):
    status, _ = await send(api, token_file, notification({**alert(), "startsAt": began}))
    assert status == 200
    assert api.boost(*JOB).until == BEGAN + timedelta(minutes=16)  # the receiver's clock is a minute after BEGAN


async def test_an_alert_from_the_year_one_has_faded_long_ago(api, token_file):
    status, _ = await send(api, token_file, notification({**alert(), "startsAt": "0001-01-01T00:00:00Z"}))
    assert (status, api.writes) == (200, 0)


async def test_severity_or_the_rules_own_label_says_how_much_and_never_more_than_twice(api, token_file):
    about_an_endpoint = alert(kind="RealtimeEndpoint", name="chat", tidemill_boost="70")
    status, _ = await send(api, token_file, notification(alert(severity="critical"), about_an_endpoint))
    assert status == 200
    assert (api.boost(*JOB).factor, api.boost(*ENDPOINT).factor) == (2.0, 2.0)


@pytest.mark.parametrize("value", ["more", "nan", ""])
async def test_a_boost_that_is_no_number_counts_as_none_given(api, token_file, value):
    await send(api, token_file, notification(alert(tidemill_boost=value)))
    assert api.boost(*JOB).factor == 1.5


@pytest.mark.parametrize(
    "other",
    [
        alert(kind="Deployment"),
        alert(kind=""),
        alert(namespace=""),
        alert(name="gone"),
        {**alert(), "labels": {"alertname": "Watchdog"}},
    ],
)
async def test_an_alert_about_nothing_of_ours_is_taken_and_changes_nothing(api, token_file, other):
    status, answer = await send(api, token_file, notification(other))
    assert (status, answer["changed"], api.writes) == (200, 0, 0)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "../../../../../../api/v1/namespaces/kube-system/secrets/s"},
        {"name": "."},
        {"name": ".."},
        {"name": ""},
        {"name": "tickets\n"},
        {"name": "%2e%2e"},
        {"name": "a" * 254},
        {"namespace": "../kube-system"},
        {"namespace": "team.other"},
        {"namespace": "a" * 64},
    ],
)
async def test_an_alert_whose_names_no_object_can_have_is_told_of_and_others_are_served(api, token_file, other):
    api.get = only_names_of_kubernetes(api.get)
    status, answer = await send(
        api, token_file, notification({**alert(), "labels": alert()["labels"] | other}, alert())
    )
    assert (status, answer["objects"], answer["changed"]) == (200, 1, 1)
    assert [f"alerts.0: label {label}" in answer["leftOut"][0] for label in other] == [True]


def only_names_of_kubernetes(get):
    """Fails for any name that could lead elsewhere."""

    def checked(resource, namespace, name):
        assert (namespace, name) == ("team", "tickets")
        return get(resource, namespace, name)

    return checked


async def test_an_object_outside_of_the_watched_namespaces_is_left_alone(api, token_file):
    await send(api, token_file, notification(alert()), namespaces=("other",))
    assert api.writes == 0


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", "Bearer ä"]
)
async def test_without_the_token_nobody_is_heard(api, token_file, header):
    status, answer = await send(api, token_file, notification(alert()), Authorization=header)
    assert (status, api.writes) == (401, 0)
    assert TOKEN not in json.dumps(answer)


def test_a_header_that_is_no_text_is_no_token():
    assert not authorised("Bearer \udcff", TOKEN)


async def test_the_token_can_be_changed_in_place_and_an_empty_one_lets_nobody_in(api, token_file):
    token_file.write_text("another")
    assert (await send(api, token_file, notification(alert()), Authorization="Bearer another"))[0] == 200
    token_file.write_text("")
    assert (await send(api, token_file, notification(alert()), Authorization="Bearer "))[0] == 401
    token_file.unlink()
    assert (await send(api, token_file, notification(alert())))[0] == 401


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "object"),
        ("[" * 100_000, "JSON"),
        ({"version": "3", "alerts": []}, "version"),
        ({"version": "4"}, "alerts"),
        (notification({**alert(), "status": "maybe"}), "status"),
        (notification({**alert(), "startsAt": "yesterday"}), "startsAt"),
        (notification({**alert(), "startsAt": "0001-01-01T00:00:00+05:00"}), "startsAt"),
        (notification({**alert(), "startsAt": "9999-12-31T23:59:59-05:00"}), "startsAt"),
        (notification({**alert(), "labels": {"name": 5}}), "labels"),
        (notification(*[alert()] * 1001), "alerts"),
    ],
)
async def test_what_is_no_notification_is_refused_and_says_why(api, token_file, body, named):
    status, answer = await send(api, token_file, body)
    assert (status, api.writes) == (400, 0)
    assert named in answer["error"]


async def test_a_body_above_the_bound_is_refused_unread(api, token_file):
    status, _ = await send(api, token_file, BytesIO(b"x" * (MOST_BYTES + 1)))
    assert status == 413


async def test_other_paths_and_methods_are_refused_cleanly(api, token_file):
    async with client(api, token_file) as opened:
        assert (await opened.get("/alerts")).status == 405
        assert (await opened.post("/")).status == 404


async def test_others_who_write_the_object_at_the_same_time_hold_nothing_up(api, token_file):
    api.conflicts = 3
    status, _ = await send(api, token_file, notification(alert()))
    assert (status, api.writes) == (200, 1)


async def test_while_the_api_server_is_away_alertmanager_is_asked_to_tell_it_again(api, token_file):
    api.down = True
    status, answer = await send(api, token_file, notification(alert()))
    assert status == 503
    assert "BatchInferenceJob team/tickets" in answer["error"]


async def test_the_operator_does_not_start_without_a_token(api, tmp_path):
    settings = Settings(alerts_port=1, alerts_credentials_file=tmp_path / "none")
    with pytest.raises(ConfigError, match="TIDEMILL_ALERTS_CREDENTIALS_FILE"):
        async with served(settings, api, ()):
            pytest.fail("it listens without a token")
