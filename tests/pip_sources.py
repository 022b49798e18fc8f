"""pip's sources of this machine for a build in a container: folders of the machine are served over loopback there."""

from __future__ import annotations

import configparser
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCES = ("index-url", "extra-index-url", "find-links", "trusted-host", "default-timeout")
PASSWORD = "only-for-the-build-5f3b"
"""Of an index in the settings: what no image may hold."""


class _Folders(SimpleHTTPRequestHandler):
    """Files below some folders of this machine, each under its own path, for who asks with any user name."""

    def __init__(self, *given: object, folders: tuple[Path, ...]) -> None:
        self.folders = folders
        super().__init__(*given, directory="/")  # type: ignore[arg-type]  # what socketserver hands on

    def translate_path(self, path: str) -> str:
        """The file of a URL's path; one that is not there where it lies outside the folders."""
        asked = Path(unquote(urlsplit(path).path)).resolve()
        inside = any(asked.is_relative_to(folder) for folder in self.folders)
        return f"{asked}/" if inside and asked.is_dir() and path.endswith("/") else str(asked) if inside else "/none"

    def log_message(self, *_: object) -> None:
        """No line for each file."""


def _given() -> dict[str, list[str]]:
    """pip's own settings of where packages come from; what the environment sets comes last and counts."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    pairs = (line.partition("=") for line in listed.splitlines() if "=" in line)
    found = {name.rpartition(".")[2]: value.strip().strip("'\"").split() for name, _, value in pairs}
    return {name: found[name] for name in SOURCES if name in found}


def _local(source: str) -> Path | None:
    if source.startswith("file://"):
        return Path(urlsplit(source).path)
    return Path(source) if source.startswith("/") else None


@contextmanager
def pip_settings(folder: Path) -> Iterator[Path]:
    """A pip.conf with this machine's sources, and one index more that wants a password and has nothing."""
    given = _given()
    local = {path for values in given.values() for value in values if (path := _local(value))}
    # An index of files holds links to a folder beside it.
    folders = tuple(path.parent if path.name == "simple" else path for path in local)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Folders, folders=folders))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    try:
        settings = configparser.RawConfigParser()
        settings["global"] = {
            name: "\n".join(f"http://{address}{path}/" if (path := _local(value)) else value for value in values)
            for name, values in given.items()
        }
        more = settings["global"].get("extra-index-url", "")
        settings["global"]["extra-index-url"] = f"{more}\nhttp://reader:{PASSWORD}@{address}/empty/".strip()
        path = folder / "pip.conf"
        with path.open("w") as file:
            settings.write(file)
        yield path
    finally:
        server.shutdown()
        server.server_close()


def has_torch_for_cpus() -> bool:
    """Whether these sources have torch's +cpu build, which the public index of packages lacks (see hack/setup.sh)."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("download", "--quiet", "--no-deps", "--dest", folder, "torch==2.13.0+cpu")
        done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, check=False, timeout=300)
    return done.returncode == 0
