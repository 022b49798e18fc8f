"""Names, quantities, patches and Events: the small pure parts of what is sent."""

import re
from dataclasses import replace
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.builders import T0, make_job, make_spec

from tidemill_api.job_contract import Ending
from tidemill_operator.core.plan import Event, ScaleCluster, SubmitDriver
from tidemill_operator.event_writer import event_manifest
from tidemill_operator.manifests.job_config import job_config
from tidemill_operator.manifests.names import cluster_name, label_value, submission_id
from tidemill_operator.manifests.quantities import quantity, whole_bytes
from tidemill_operator.ray_clusters import scale_patch

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


def test_a_scale_that_comes_late_finds_another_generation_in_its_way():
    patch = scale_patch(ScaleCluster("c", 1, 4, generation=7))
    assert patch[0] == {"op": "test", "path": "/metadata/generation", "value": 7}


def test_the_same_event_has_the_same_name_and_another_has_not():
    def name(message, event_type="Normal"):
        return event_manifest(make_job(), Event(event_type, "Scaled", message), T0)["metadata"]["name"]

    assert name("1 -> 2") == name("1 -> 2")
    assert len({name("1 -> 2"), name("2 -> 1"), name("1 -> 2", "Warning")}) == 3


def test_the_drivers_output_folder_ends_with_a_slash():
    job = make_job(spec=make_spec(output={"uri": "/data/out"}))
    config = job_config(job, SubmitDriver("10.0.0.1", 3))
    assert (config.output_uri, config.attempt, config.workers_max, config.mounts) == ("/data/out/", 3, 4, ("/data",))
    assert (config.ending, config.resubmit_of_uri) == (None, "")


def test_the_driver_is_told_of_bad_lines_retries_and_bounds():
    spec = make_spec(
        input={"uri": "/data/in.jsonl", "onInvalid": "Skip"},
        retry={"maxAttempts": 7, "backoffSeconds": 11},
        maxFailedRows=5,
    )
    config = job_config(make_job(spec=spec), SubmitDriver("10.0.0.1", 3, "Expired", "/data/before/"))
    assert (config.on_invalid, config.max_attempts, config.retry_backoff_seconds) == ("Skip", 7, 11)
    assert (config.max_failed_rows, config.ending, config.resubmit_of_uri) == (5, "Expired", "/data/before/")


def test_loopback_is_open_to_inputs_only_where_the_operator_says_so():
    job, submit = make_job(), SubmitDriver("10.0.0.1", 1)
    assert not job_config(job, submit).allow_loopback_input
    assert job_config(job, submit, allow_loopback_input=True).allow_loopback_input


def test_every_purpose_of_an_attempt_has_a_submission_of_its_own():
    purposes = (None, *get_args(Ending))
    assert len({submission_id("uid", 3, purpose) for purpose in purposes}) == len(purposes) == 3


@pytest.mark.parametrize("name", ["a" * 199 + "-b", "a" * 199 + ".b", "a" * 198 + "-.b"])
def test_the_name_of_an_event_is_a_name_wherever_the_jobs_is_cut(name):
    event = event_manifest(replace(make_job(), name=name), Event("Normal", "Scaled", "so"), T0)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", event["metadata"]["name"])
