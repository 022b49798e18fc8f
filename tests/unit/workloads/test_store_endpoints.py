"""A store's endpoint comes from the template's environment: one where machines keep their credentials is no store."""

from __future__ import annotations

import pytest

from tidemill_api.conditions import Reason
from tidemill_workloads.errors import JobRefused
from tidemill_workloads.locations import open_input, open_output

ELSEWHERE = [
    "http://169.254.169.254",
    "http://169.254.169.254:80/latest/meta-data",
    "http://2852039166",
    "http://0xa9fea9fe",
    "http://0251.0376.0251.0376",
    "http://[::ffff:169.254.169.254]",
    "http://[fe80::1]",
    "http://[fd00:ec2::254]",
    "http://100.100.100.200",
    "http://168.63.129.16",
]


@pytest.mark.parametrize("endpoint", ELSEWHERE)
@pytest.mark.parametrize(
    ("variable", "scheme"),
    [
        ("AWS_ENDPOINT_URL", "s3"),
        ("AWS_ENDPOINT_URL_S3", "s3"),
        ("GOOGLE_BASE_URL", "gs"),
        ("STORAGE_EMULATOR_HOST", "gs"),
    ],
)
def test_a_store_is_never_looked_for_at_a_metadata_service(
    endpoint: str, variable: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidemill_workloads import store_client

    store_client.client.cache_clear()
    monkeypatch.setenv(variable, endpoint)
    with pytest.raises(JobRefused) as refused:
        open_input(f"{scheme}://metadata/rows.jsonl", ())
    assert refused.value.reason == Reason.INPUT_NOT_READABLE
    assert "never read by a job" in refused.value.message
    with pytest.raises(JobRefused) as refused:
        open_output(f"{scheme}://metadata/out/", ())
    assert refused.value.reason == Reason.OUTPUT_NOT_WRITABLE
    assert "never read by a job" in refused.value.message
