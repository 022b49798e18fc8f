"""vLLM run directly, for comparison: `python direct_vllm.py chat|embed <model folder> <input lines> <answers>`.

Greedy, float32, one request at a time, through vLLM's offline `LLM` class: no server, no Ray, nothing of ours.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vllm import LLM, SamplingParams


def main() -> None:
    """Writes one JSON value for each input line: the text of the answer, or the embedding."""
    kind, model, source, target = sys.argv[1:]
    bodies = [json.loads(line)["body"] for line in Path(source).read_text().splitlines()]
    if kind == "chat":
        llm = LLM(model, dtype="float32", enforce_eager=True, max_model_len=512, max_num_seqs=1)
        greedy = SamplingParams(temperature=0, max_tokens=16)
        answers = [llm.chat(body["messages"], greedy, use_tqdm=False)[0].outputs[0].text for body in bodies]
    else:
        llm = LLM(model, dtype="float32", enforce_eager=True, runner="pooling", max_num_seqs=1)
        answers = [llm.embed(body["input"], use_tqdm=False)[0].outputs.embedding for body in bodies]
    Path(target).write_text(json.dumps(answers))


if __name__ == "__main__":
    main()
