"""vLLM run directly, for comparison: `python direct_vllm.py generate|embed <model folder> <input lines> <answers>`.

Greedy, float32, one request at a time, through vLLM's offline `LLM` class: no server, no Ray, nothing of ours. With a
fifth argument, a JSON object from names to the folders of LoRA adapters, `body.model` may name one of these.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest


def main() -> None:
    """Writes one JSON value for each input line: the text of the answer, or the embedding."""
    kind, model, source, target, *more = sys.argv[1:]
    folders = json.loads(more[0]) if more else {}
    adapters = {name: LoRARequest(name, number, folder) for number, (name, folder) in enumerate(folders.items(), 1)}
    bodies = [json.loads(line)["body"] for line in Path(source).read_text().splitlines()]
    if kind == "generate":
        lora = {"enable_lora": True, "max_loras": 1, "max_cpu_loras": len(adapters)} if adapters else {}
        llm = LLM(model, dtype="float32", enforce_eager=True, max_model_len=512, max_num_seqs=1, **lora)
        greedy = SamplingParams(temperature=0, max_tokens=16)
        answers = [generated(llm, body, greedy, adapters.get(body.get("model"))) for body in bodies]
    else:
        llm = LLM(model, dtype="float32", enforce_eager=True, runner="pooling", max_num_seqs=1)
        answers = [llm.embed(body["input"], use_tqdm=False)[0].outputs.embedding for body in bodies]
    Path(target).write_text(json.dumps(answers))


def generated(llm: LLM, body: dict[str, Any], sampling: SamplingParams, adapter: LoRARequest | None) -> str:
    """The answer to a chat, or the continuation of a prompt."""
    options: Any = {"use_tqdm": False, "lora_request": adapter}
    if "messages" in body:
        return str(llm.chat(body["messages"], sampling, **options)[0].outputs[0].text)
    return str(llm.generate(body["prompt"], sampling, **options)[0].outputs[0].text)


if __name__ == "__main__":
    main()
