"""A real object store for tests: a SeaweedFS server, which speaks S3."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"  # of a server on loopback that ends with the test
START_SECONDS = 30


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, and whose gRPC ports (10,000 above, SeaweedFS' habit) do not matter."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass
class S3Server:
    """A SeaweedFS of its own: master, volume, filer and S3 gateway in one process on loopback.

    Buckets whose name starts with `open_prefix` need no credentials.
    """

    folder: Path
    host: str = "127.0.0.1"
    process: subprocess.Popen[bytes] | None = None
    s3_port: int = 0
    filer_port: int = 0
    environment: dict[str, str] = field(default_factory=dict)
    open_prefix: str = "open-"

    def start(self) -> None:
        """Starts it, on the same ports and data where it ran before. Waits until it answers.

        It ends with the thread that starts it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.s3_port:
            self._choose_ports()
        with (self.folder / "weed.log").open("ab") as log:
            command = ["setpriv", "--pdeathsig", "KILL", *self._command()]  # ends with the tests, however they end
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self._wait()

    def _choose_ports(self) -> None:
        names = ["master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc"]
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.s3_port, self.filer_port = self.ports["s3"], self.ports["filer"]
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://{self.host}:{self.s3_port}",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
        anyone = {"name": "anonymous", "actions": [f"{action}:{self.open_prefix}*" for action in identity["actions"]]}
        (self.folder / "s3.json").write_text(json.dumps({"identities": [identity, anyone]}))

    def _command(self) -> list[str]:
        ports = self.ports
        return [
            str(Path(sys.executable).with_name("weed")),
            "server",
            f"-dir={self.folder}",
            f"-ip={self.host}",
            f"-ip.bind={self.host}",
            "-s3",
            "-s3.config=s3.json",
            "-s3.autoCreateBucket=false",
            "-volume.max=500",
            "-master.volumeSizeLimitMB=64",
            "-master.volumePreallocate=false",
            f"-master.port={ports['master']}",
            f"-master.port.grpc={ports['master.grpc']}",
            f"-volume.port={ports['volume']}",
            f"-volume.port.grpc={ports['volume.grpc']}",
            f"-filer.port={ports['filer']}",
            f"-filer.port.grpc={ports['filer.grpc']}",
            f"-s3.port={ports['s3']}",
            f"-s3.port.grpc={ports['s3.grpc']}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                self.make_bucket(f"ready-{uuid.uuid4().hex[:8]}")
                with urllib.request.urlopen(f"http://{self.host}:{self.s3_port}/status", timeout=2):
                    return
            assert self.process is not None
            log = self.folder / "weed.log"
            assert self.process.poll() is None, f"SeaweedFS ended: {log.read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"SeaweedFS does not answer: {log.read_text()[-2000:]}"
            time.sleep(0.05)

    def make_bucket(self, name: str) -> str:
        """A new bucket, which SeaweedFS keeps as a folder of its filer."""
        request = urllib.request.Request(f"http://{self.host}:{self.filer_port}/buckets/{name}/", method="POST")
        with urllib.request.urlopen(request, timeout=5):
            return name

    def kill(self) -> None:
        """Gone without a word; its data stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
