"""One S3 server for all tests of the storage, and folders on every kind of storage that there is."""

from __future__ import annotations

import os
import uuid
from typing import TYPE_CHECKING

import pytest
from object_stores import S3Server
from store_proxies import FaultyProxy, GoogleDialect
from workload_builders import folder_at

from tidemill_workloads import store_client
from tidemill_workloads.object_storage import ObjectFolder
from tidemill_workloads.store_client import Bucket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tidemill_workloads.storage import Folder

BUCKET = "tests"
STORE_VARIABLES = ("AWS_", "GOOGLE_", "STORAGE_EMULATOR_HOST")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("seaweedfs"))
    try:
        server.start()
        server.make_bucket(BUCKET)
        server.make_bucket(server.open_prefix + BUCKET)
        yield server
    finally:
        server.kill()


@pytest.fixture(autouse=True)
def no_store_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No credentials of whoever runs the tests, and no client of an earlier test."""
    for name in list(os.environ):
        if name.startswith(STORE_VARIABLES):
            monkeypatch.delenv(name)
    forget_clients()
    yield
    forget_clients()


def forget_clients() -> None:
    """As in a new process."""
    store_client.client.cache_clear()
    store_client.uploading_client.cache_clear()


@pytest.fixture
def bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket, in an environment that leads to it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return BUCKET


@pytest.fixture
def faulty(s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """A proxy that fails on demand, in the way to the bucket."""
    with FaultyProxy(s3_server.s3_port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def folder_in(scheme: str, bucket: str, patience_seconds: float = 20) -> ObjectFolder:
    """An empty folder."""
    prefix = f"out/a job {uuid.uuid4().hex[:12]}"
    uri = f"{scheme}://{bucket}/{prefix}/"
    return ObjectFolder(Bucket(scheme, bucket), prefix, uri, patience_seconds=patience_seconds)


@pytest.fixture(params=["local", "s3", "gs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    """An empty output folder on each kind of storage."""
    if request.param == "local":
        yield folder_at(tmp_path / "out")
    elif request.param == "s3":
        yield folder_in("s3", request.getfixturevalue("bucket"))
    else:
        server: S3Server = request.getfixturevalue("s3_server")
        with GoogleDialect(server.s3_port) as google:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.url)
            yield folder_in("gs", server.open_prefix + BUCKET)
