"""Writes the byte code of every module below a folder, the same bytes each time: `python bytecode.py FOLDER`.

For the images. The standard library's compileall lets each file's bytes depend on what else the process holds, by the
references that marshal writes from its third version on; the second has none, and every Python reads it. The code is
unchecked-hash (PEP 552): what is read-only need not be compared with its source. Files that this Python cannot compile,
templates or another Python's, are passed over, as pip does.
"""

import importlib.util
import marshal
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

UNCHECKED_HASH = (0b01).to_bytes(4, "little")
WITHOUT_REFERENCES = 2  # marshal's version


def byte_code(source: bytes, path: str) -> bytes:
    """What a .pyc of this source holds. Raises SyntaxError or ValueError for what is no module of this Python."""
    code = compile(source, path, "exec", dont_inherit=True)
    header = importlib.util.MAGIC_NUMBER + UNCHECKED_HASH + importlib.util.source_hash(source)
    return header + marshal.dumps(code, WITHOUT_REFERENCES)


def write(path: Path) -> None:
    """The byte code of one module, in the `__pycache__` beside it."""
    source = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compiled = byte_code(source, str(path))
        except (SyntaxError, ValueError):
            return
    target = Path(importlib.util.cache_from_source(str(path)))
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(compiled)


def main() -> None:
    """Every module below the folder that the command line names, as many at a time as there are cores."""
    modules = sorted(Path(sys.argv[1]).rglob("*.py"))
    with ProcessPoolExecutor() as pool:
        list(pool.map(write, modules, chunksize=64))


if __name__ == "__main__":
    main()
