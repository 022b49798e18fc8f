"""Conditions, reasons and labels are words that a CRD, kubectl and a selector take."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tidemill_api import GROUP, VERSION, labels
from tidemill_api.conditions import AWAITED, ConditionType, Reason
from tidemill_api.v1alpha1.batch_inference_job import BATCH_INFERENCE_JOB

CRD = Path(__file__).parents[3] / "crds" / "tidemill.dev_batchinferencejobs.yaml"


def test_reasons_fit_the_crd() -> None:
    status = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    reason = status["properties"]["conditions"]["items"]["properties"]["reason"]
    assert [word for word in Reason if not re.fullmatch(reason["pattern"], word)] == []
    assert len(ConditionType) <= status["properties"]["conditions"]["maxItems"]


def test_what_is_awaited_is_told_by_the_driver() -> None:
    assert {reason.value for reason in AWAITED} == {
        "InputNotFound",
        "InputNotReadable",
        "OutputNotWritable",
        "ModelNotFound",
        "ModelNotLoadable",
        "StorageUnreachable",
        "ResubmitSourceNotReady",
    }


def test_label_keys_are_label_keys() -> None:
    keys = [value for name, value in vars(labels).items() if name.isupper() and not name.endswith("_VALUE")]
    assert len(set(keys)) == len(keys) >= 3
    assert [key for key in keys if not re.fullmatch(r"[a-z0-9.-]{1,253}/[A-Za-z0-9._-]{1,63}", key)] == []


def test_names_of_the_kind() -> None:
    assert f"{GROUP}/{VERSION}" == "tidemill.dev/v1alpha1"
    assert BATCH_INFERENCE_JOB.singular == "batchinferencejob"
