"""The images' byte code: the same bytes whatever the process did before, and code that runs."""

from __future__ import annotations

import marshal
import subprocess
import sys
from pathlib import Path

from bytecode import byte_code, write

SOURCE = b'"""Doc."""\nNAME = "a name"\nWORDS = frozenset({"a", "b", None})\ndef say(word="a name"):\n    return word\n'


def test_what_the_process_holds_does_not_change_the_bytes() -> None:
    before = byte_code(SOURCE, "/opt/x.py")
    held = [sys.intern(word) for word in ("a name", "say", "word", "NAME", "WORDS", "Doc.")]
    held.append(marshal.loads(before[16:]))
    assert byte_code(SOURCE, "/opt/x.py") == before


def test_other_interpreters_write_the_same() -> None:
    program = (
        "import sys; from bytecode import byte_code; sys.stdout.buffer.write(byte_code(sys.stdin.buffer.read(), 'x'))"
    )
    hack = str(Path(__file__).parents[3] / "hack")
    command = [sys.executable, "-c", program]
    written = {
        subprocess.run(command, input=SOURCE, env={"PYTHONPATH": hack}, capture_output=True, check=True).stdout
        for _ in range(3)
    }
    assert written == {byte_code(SOURCE, "x")}


def test_python_runs_it_without_looking_at_the_source(tmp_path: Path) -> None:
    module = tmp_path / "said.py"
    module.write_text("print('from the source')\n")
    write(module)
    module.write_text("print('from another source')\n")
    done = subprocess.run(
        [sys.executable, "-c", "import said"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "from the source\n"


def test_what_is_no_module_is_passed_over(tmp_path: Path) -> None:
    template = tmp_path / "template.py"
    template.write_text("class {{ name }}:\n")
    write(template)
    assert list(tmp_path.iterdir()) == [template]
