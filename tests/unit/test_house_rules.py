"""Rules of the house that no other tool looks after: names, sizes, layers, scripts, and what files must not say."""

from __future__ import annotations

import ast
import operator
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORT_ROOTS = ("operator", "workloads", "hack", "tests")
LONGEST_MODULE = 400
LONGEST_HANDLER = 30


def run(*command: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def tracked(pattern: str = "*") -> list[Path]:
    listed = run("git", "ls-files", "-z", "--", pattern)
    assert listed.returncode == 0, listed.stderr
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def modules() -> list[Path]:
    return [path for path in tracked("*.py") if path.relative_to(ROOT).parts[0] in IMPORT_ROOTS]


def scripts() -> list[Path]:
    return [path for path in tracked() if text_of(path).startswith("#!")]


def test_the_operator_of_the_standard_library_is_the_real_one() -> None:
    assert Path(operator.__file__).is_relative_to(sysconfig.get_path("stdlib"))


@pytest.mark.parametrize("folder", [".", "operator", "workloads", "tests"])
def test_a_fresh_interpreter_imports_the_standard_library(folder: str) -> None:
    done = run(sys.executable, "-c", "import operator, collections; print(operator.__file__)", cwd=ROOT / folder)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(sysconfig.get_path("stdlib"))


def test_nothing_on_the_import_path_has_a_name_of_the_standard_library() -> None:
    names = {path.stem for root in (ROOT, *(ROOT / root for root in IMPORT_ROOTS)) for path in root.glob("*.py")}
    packages = {path.parent.name for root in IMPORT_ROOTS for path in (ROOT / root).glob("*/__init__.py")}
    assert (names | packages) & sys.stdlib_module_names == set()


@pytest.mark.parametrize("folder", ["operator", "workloads"])
def test_plain_folders_hold_packages_and_no_modules(folder: str) -> None:
    """A module there, `__init__.py` above all, would be importable as, or hide, something of the standard library."""
    assert list((ROOT / folder).glob("*.py")) == []


def test_no_module_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(text_of(path).splitlines()) for path in modules()}
    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_handlers_are_thin() -> None:
    tree = ast.parse(text_of(ROOT / "operator" / "tidemill_operator" / "handlers.py"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert functions
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length >= LONGEST_HANDLER} == {}


def test_layers_hold() -> None:
    done = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert done.returncode == 0, done.stdout + done.stderr


PURE = ("core", "manifests")
"""Packages of the operator that decide and build, and so take the time as an argument."""

OURS_THEY_MAY_IMPORT = ("tidemill_api", *(f"tidemill_operator.{name}" for name in PURE))


def pure_modules() -> list[Path]:
    return [path for name in PURE for path in tracked(f"operator/tidemill_operator/{name}/*.py")]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_decisions_import_nothing_of_the_shell() -> None:
    """As the import rules say, but for modules that the list there does not name yet."""
    ours = {(path.name, name) for path in pure_modules() for name in imported(path) if name.startswith("tidemill_")}
    assert ours
    assert {found for found in ours if not found[1].startswith(OURS_THEY_MAY_IMPORT)} == set()


CLOCK_CALLS = {"now", "utcnow", "today", "localtime", "gmtime", "time_ns", "monotonic", "perf_counter"}


def test_decisions_never_look_at_a_clock() -> None:
    """The import rules keep `time` out; `datetime` is needed there, but not what asks it for the present."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in pure_modules()
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.Call) and _called(node) in CLOCK_CALLS
    ]
    assert found == []


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_every_suppression_says_why() -> None:
    """A reason follows: `# noqa: X - reason` or `# type: ignore[x]  # reason`."""
    marker = re.compile(r"# (noqa|type: ignore)(?P<codes>[:\[][A-Za-z0-9, \-]*\]?)?(?P<rest>.*)$")
    bare = []
    for path in modules():
        for number, line in enumerate(text_of(path).splitlines(), 1):
            match = marker.search(line)
            if match and path != Path(__file__) and len(re.findall(r"[a-z]{3,}", match["rest"] + match["codes"])) < 2:
                bare.append(f"{path.relative_to(ROOT)}:{number}")
    assert bare == []


def test_nothing_is_left_to_be_done() -> None:
    marks = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
    assert [str(path.relative_to(ROOT)) for path in modules() if marks.search(text_of(path))] == []


# Put together, so that this file does not name them itself.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("download", "pytorch", "org"),
        ("anaconda", "org"),
        ("deb", "debian", "org"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
        ("jfrog", "io"),
    )
)
ALLOWED_HOSTS = {("hack/setup.sh", "download.pytorch" + ".org")}
"""The CPU build of torch is published there only."""


def test_no_file_names_a_package_registry() -> None:
    found = {
        (str(path.relative_to(ROOT)), host) for path in tracked() for host in REGISTRY_HOSTS if host in text_of(path)
    }
    assert found - ALLOWED_HOSTS == set()


def test_no_file_names_a_path_of_a_build_machine() -> None:
    elsewhere = re.compile(r"(?<![\w.$}])/" + r"(work|Users)/\w")
    found = [path for path in tracked() if str(ROOT) in text_of(path) or elsewhere.search(text_of(path))]
    assert [str(path.relative_to(ROOT)) for path in found] == []


def test_scripts_can_be_run() -> None:
    assert scripts()
    modes = run("git", "ls-files", "-s").stdout.splitlines()
    executable = {line.split("\t", 1)[1] for line in modes if line.startswith("100755")}
    assert {str(path.relative_to(ROOT)) for path in scripts()} == executable


def test_shell_scripts_are_clean() -> None:
    shell = [path for path in scripts() if re.match(r"#!.*\b(ba|da)?sh\b", text_of(path))]
    done = run(str(Path(sys.executable).with_name("shellcheck")), *map(str, shell))
    assert done.returncode == 0, done.stdout
