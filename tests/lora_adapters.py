"""Real LoRA adapters for tests, as PEFT writes them: random weights, small, and of the model that they are made for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

if TYPE_CHECKING:
    from pathlib import Path

DEVIATION = 0.05
"""Of the weights: enough to change greedy answers of the demo model, little enough to keep them words."""


def make_adapter(folder: Path, config: dict[str, Any], *, rank: int = 8, seed: int = 1, **stated: Any) -> Path:
    """An adapter of q_proj and v_proj for a Llama model of this `config`; `stated` goes into its own config."""
    hidden, head = config["hidden_size"], config["head_dim"]
    outputs = {"q_proj": config["num_attention_heads"] * head, "v_proj": config["num_key_value_heads"] * head}
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(config["num_hidden_layers"]):
        for module, size in outputs.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            shapes = {"lora_A": (rank, hidden), "lora_B": (size, rank)}
            for part, shape in shapes.items():
                weights = random.normal(0, DEVIATION, shape).astype(np.float32)
                tensors[f"{name}.{part}.weight"] = weights
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": list(outputs), "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config | stated))
    return folder


TINY: dict[str, Any] = {
    "hidden_size": 4,
    "head_dim": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": 1,
}
"""The config of a model that nothing loads."""
