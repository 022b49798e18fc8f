"""Names, quantities, patches and Events: the small pure parts of what is sent."""

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.builders import T0, make_job, make_spec

from tidemill_operator.apply import scale_patch
from tidemill_operator.core.plan import Event, ScaleCluster
from tidemill_operator.event_writer import event_manifest
from tidemill_operator.manifests.job_config import job_config
from tidemill_operator.manifests.names import cluster_name, label_value
from tidemill_operator.manifests.quantities import quantity, whole_bytes

OBJECT_NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", fullmatch=True)


@given(OBJECT_NAMES, st.uuids().map(str))
def test_a_cluster_name_fits_kuberay_whatever_the_jobs_name(owner, uid):
    name = cluster_name(owner, uid)
    assert len(name) <= 53
    assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
    assert name == cluster_name(owner, uid)
    assert name != cluster_name(owner, uid + "x")


@given(OBJECT_NAMES)
def test_a_label_value_is_valid_whatever_the_jobs_name(owner):
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", label_value(owner))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", "0.5"),
        ("2", "2"),
        ("1.5Gi", str(3 * 2**29)),
        ("10k", "10000"),
        ("1M", "1000000"),
        ("3Ti", str(3 * 2**40)),
    ],
)
def test_a_quantity_is_its_number(text, value):
    assert quantity(text) == Decimal(value)


def test_bytes_are_rounded_up():
    assert whole_bytes("0.001Ki") == 2


def test_a_scale_lowers_replicas_and_names_pods_in_one_guarded_patch():
    patch = scale_patch(ScaleCluster("c", 1, 4, ("w1",)))
    assert patch[0] == {"op": "test", "path": "/spec/workerGroupSpecs/0/groupName", "value": "engines"}
    assert [(op["path"].rsplit("/", 1)[1], op["value"]) for op in patch[1:]] == [
        ("maxReplicas", 4),
        ("replicas", 1),
        ("scaleStrategy", {"workersToDelete": ["w1"]}),
    ]


def test_the_same_event_has_the_same_name_and_another_has_not():
    def name(message, event_type="Normal"):
        return event_manifest(make_job(), Event(event_type, "Scaled", message), T0)["metadata"]["name"]

    assert name("1 -> 2") == name("1 -> 2")
    assert len({name("1 -> 2"), name("2 -> 1"), name("1 -> 2", "Warning")}) == 3


def test_the_drivers_output_folder_ends_with_a_slash():
    config = job_config("team", "tickets", make_spec(output={"uri": "/data/out"}), attempt=3)
    assert (config.output_uri, config.attempt, config.workers_max, config.mounts) == ("/data/out/", 3, 4, ("/data",))


@pytest.mark.parametrize("name", ["a" * 199 + "-b", "a" * 199 + ".b", "a" * 198 + "-.b"])
def test_the_name_of_an_event_is_a_name_wherever_the_jobs_is_cut(name):
    event = event_manifest(replace(make_job(), name=name), Event("Normal", "Scaled", "so"), T0)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", event["metadata"]["name"])
