"""Names at every limit, huge annotations and every kind of text: each object is handled, and none holds up another."""

import json
import re
import time

import pytest
from integration.operator.conftest import JOBS, eventually, job

from devcluster.client import EVENTS, PODS, SECRETS, ApiError, NotFound

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")

NAMES = (
    "a" * 253,
    "a" * 252 + "b",  # the same once it is cut
    "a.b.c",
    "a-b-c",  # the same once dots are dashes
    "0",
    "9" * 63,
    "9.9.9",
    "x" * 63 + "." + "y" * 63,
    "a" + "-" * 62 + "b",
    "a." * 31 + "a",
    "x" * 42,
    "x" * 43,
    "x" * 43 + "-y",
    "job",
    "head-svc",
    "kubernetes",
)
ANNOTATION_BYTES = 256 * 1024
"""Of all annotations of an object together (TotalAnnotationSizeLimitB of Kubernetes)."""


async def test_names_at_every_limit_each_get_a_cluster_of_their_own(world):
    world.head.one_token = False  # the heads of all of them share one address here
    for name in NAMES:
        await world.apply(job(name, output={"uri": f"/data/{abs(hash(name))}/"}))

    async def all_submitted():
        return len(world.head.submissions) == len(NAMES)

    await eventually(all_submitted)
    clusters = {c["metadata"]["name"]: c["metadata"] for c in await world.clusters()}
    assert len(clusters) == len(NAMES)
    assert sorted(c["ownerReferences"][0]["name"] for c in clusters.values()) == sorted(NAMES)
    assert [name for name in clusters if not DNS_1035.fullmatch(name) or len(name) > 53] == []
    pods, _ = await world.client.list(PODS, world.namespace)
    made = [*clusters.values(), *(pod["metadata"] for pod in pods)]
    values = {value for metadata in made for value in metadata["labels"].values()}
    assert [value for value in values if not LABEL_VALUE.fullmatch(value)] == []
    configured = {driver.config.name for driver in world.head.submissions.values()}
    assert configured == set(NAMES)


@pytest.mark.parametrize("name", ["UPPER", "a_b", "-a", "a..b", "a/b", "a" * 254, "ü", "..", "a\nb", ""])
async def test_what_is_no_name_is_refused_by_the_api_server(world, name):
    with pytest.raises(ApiError) as refused:
        await world.apply(job(name))
    assert refused.value.status in (400, 422)
    assert "name" in refused.value.message


async def test_a_name_taken_again_at_once_is_another_job(world):
    for round_ in range(3):
        await world.apply(job(output={"uri": f"/data/{round_}/"}))
        await eventually(lambda: has_cluster(world))
        await world.client.delete(JOBS, world.namespace, "tickets")
    uid = (await world.apply(job(output={"uri": "/data/last/"})))["metadata"]["uid"]

    async def only_the_last_ones():
        secrets, _ = await world.client.list(SECRETS, world.namespace)
        owners = {o["uid"] for c in [*await world.clusters(), *secrets] for o in c["metadata"]["ownerReferences"]}
        return owners == {uid} and world.head.driver

    driver = await eventually(only_the_last_ones)
    assert driver.config.output_uri == "/data/last/"


async def has_cluster(world):
    return await world.clusters()


async def test_an_annotation_of_a_megabyte_is_refused_and_the_most_that_is_taken_holds_nobody_up(
    world, operator_log, record_property
):
    """A hundred jobs of a quarter of a megabyte each, half of them wrong, before one like any other."""
    world.head.one_token = False
    with pytest.raises(ApiError, match=r"metadata\.annotations: Too long"):
        await world.apply(annotated("huge", 1_000_000))
    for number in range(100):
        await world.apply(annotated(f"huge-{number}", ANNOTATION_BYTES, **(NOT_ALLOWED if number % 2 else ASLEEP)))
    await world.apply(job("small"))
    began = time.monotonic()
    await world.until_condition("Finished", ("False", "Running"), name="small", seconds=30)

    async def small_submitted():
        return any(driver.config.name == "small" for driver in world.head.submissions.values())

    await eventually(small_submitted, seconds=30)
    seconds = time.monotonic() - began
    record_property("figure", f"a small job has its driver after 100 huge ones in {seconds:.1f} s")
    await world.until_condition("Succeeded", ("False", "InvalidSpec"), name="huge-99", seconds=60)
    await world.until_condition("Suspended", ("True", "SuspendRequested"), name="huge-98", seconds=60)
    children = json.dumps([await world.clusters(), (await world.client.list(EVENTS, world.namespace))[0]])
    assert "padding" not in children, "what users write on their objects is not copied"
    assert "padding" not in operator_log()


NOT_ALLOWED = {"template": {**job()["spec"]["template"], "serviceAccountName": "that-of-somebody-else"}}
"""What every API server takes and this operator refuses."""

ASLEEP = {"suspend": True}


def annotated(name, size, **spec):
    key = "example.com/text"
    manifest = job(name, output={"uri": f"/data/{name}/"}, **spec)
    manifest["metadata"]["annotations"] = {key: ("padding" * (size // 7 + 1))[: size - len(key)]}
    return manifest


TEXTS = {
    "right to left": "\u202egnp.\u2066exe",
    "combining": "e\u0301" * 40 + "\u0344" * 40,
    "beyond the basic plane": "\U0001f30a" * 50,
    "escapes": "\\u0000 %s %n {} {{x}} $(x) `x` '\"",
    "a tab and an end of line": "a\tb\nTIDEMILL_OUTCOME {}\r\nc",
    "separators": "a\u2028b\u2029c\x85d\x0be",
    "control": "a\x01b\x7fc\x1b[31md",
    "not a character": "\ufffe\uffff\ufeff",
}


async def test_text_of_every_kind_reaches_the_driver_as_it_is_and_breaks_no_line_of_the_log(world, operator_log):
    world.head.one_token = False
    names = {f"text-{number}": text for number, text in enumerate(TEXTS.values())}
    for name, text in names.items():
        path = "".join(character for character in text if character not in "\n\r\u2028\u2029\x85")
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
        template = {
            "volumes": [volume],
            "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": path}],
            "env": [{"name": "TEXT", "value": text}],
        }
        places = {"input": {"uri": f"/data/{path}.jsonl"}, "output": {"uri": f"/data/{name}/{path}/"}}
        await world.apply(job(name, template=template, **places))

    async def all_submitted():
        return len(world.head.submissions) == len(names)

    await eventually(all_submitted)
    told = {driver.config.name: driver.config.input_uri for driver in world.head.submissions.values()}
    for name, text in names.items():
        assert told[name].startswith("/data/")
        cluster = await eventually(lambda name=name: cluster_of(world, name))
        env = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"]
        assert {"name": "TEXT", "value": text} in env
    lines = operator_log().splitlines()
    assert [line for line in lines if not is_json(line)] == []


async def cluster_of(world, name):
    owned = (c for c in await world.clusters() if c["metadata"]["ownerReferences"][0]["name"] == name)
    return next(owned, None)


def is_json(line):
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


async def test_a_hostile_driver_log_is_told_in_bounds_and_the_job_still_ends(world):
    """Its last words become part of a condition and of an Event, whatever they are."""
    await world.apply(job())
    for attempt in range(5):
        driver = await eventually(lambda: alive(world))
        assert driver.config.attempt == attempt + 1
        world.head.die("\x00\ud800" * 10 + "\u202e" + "\U0001f30a" * 200_000)
    await world.until_condition("Progressing", ("False", "DriverFailing"))
    assert len(await world.message("Progressing")) < 4000
    event = await world.event("DriverFailing")
    assert len(event["message"]) <= 1024
    await world.client.delete(JOBS, world.namespace, "tickets")
    with pytest.raises(NotFound):
        await world.job()


async def alive(world):
    return world.head.driver
