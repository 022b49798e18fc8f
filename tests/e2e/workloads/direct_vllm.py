"""vLLM run directly, for comparison: `python direct_vllm.py generate|embed <model folder> <input lines> <answers>`.

Greedy, float32, one request at a time, through vLLM's offline `LLM` class: no server, no Ray, nothing of ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from vllm import LLM, SamplingParams


def main() -> None:
    """Writes one JSON value for each input line: the text of the answer, or the embedding."""
    kind, model, source, target = sys.argv[1:]
    bodies = [json.loads(line)["body"] for line in Path(source).read_text().splitlines()]
    if kind == "generate":
        llm = LLM(model, dtype="float32", enforce_eager=True, max_model_len=512, max_num_seqs=1)
        greedy = SamplingParams(temperature=0, max_tokens=16)
        answers = [generated(llm, body, greedy) for body in bodies]
    else:
        llm = LLM(model, dtype="float32", enforce_eager=True, runner="pooling", max_num_seqs=1)
        answers = [llm.embed(body["input"], use_tqdm=False)[0].outputs.embedding for body in bodies]
    Path(target).write_text(json.dumps(answers))


def generated(llm: LLM, body: dict[str, Any], sampling: SamplingParams) -> str:
    """The answer to a chat, or the continuation of a prompt."""
    if "messages" in body:
        return str(llm.chat(body["messages"], sampling, use_tqdm=False)[0].outputs[0].text)
    return str(llm.generate(body["prompt"], sampling, use_tqdm=False)[0].outputs[0].text)


if __name__ == "__main__":
    main()
