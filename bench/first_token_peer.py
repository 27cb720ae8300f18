"""A peer of first_token_rows.py in an environment of its own: NAME MODEL THREADS PACKAGES. Each line of standard input
is a conversation [system, user, assistant, user]; the answer is a line `TOOK [first, second]`, seconds to the first
token.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

Turns = list[str]


def transformers(path: Path, threads: int) -> Callable[[Turns], tuple[float, float]]:
    """bfloat16 out of the GGUF; the cache of the first turn is kept for the second."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    torch.set_num_threads(threads)
    there = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**there)
    model = AutoModelForCausalLM.from_pretrained(**there, dtype=torch.bfloat16,
                                                 quantization_config=GgufConfig(dequantize=True)).eval()

    @torch.inference_mode()
    def ask(turns: Turns) -> tuple[float, float]:
        system, first, answer, second = turns
        begin = time.perf_counter()
        text = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{first}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        out = model(input_ids=ids, use_cache=True, logits_to_keep=1)
        tokenizer.decode(out.logits[0, -1].argmax())
        took = time.perf_counter() - begin
        begin = time.perf_counter()
        more = f"{answer}<|im_end|>\n<|im_start|>user\n{second}<|im_end|>\n<|im_start|>assistant\n"
        ids = tokenizer(more, return_tensors="pt")["input_ids"]
        out = model(input_ids=ids, past_key_values=out.past_key_values, use_cache=True, logits_to_keep=1)
        tokenizer.decode(out.logits[0, -1].argmax())
        return took, time.perf_counter() - begin

    return ask


def openvino(path: Path, threads: int) -> Callable[[Turns], tuple[float, float]]:
    """Its own reader of GGUF and its own chat, which keeps the cache between turns."""
    import openvino_genai

    pipe = openvino_genai.LLMPipeline(str(path), "CPU", INFERENCE_NUM_THREADS=threads)

    def say(words: str) -> float:
        begin, first = time.perf_counter(), []

        def heard(_: str) -> openvino_genai.StreamingStatus:
            first.append(time.perf_counter() - begin)
            return openvino_genai.StreamingStatus.RUNNING

        pipe.generate(words, max_new_tokens=4, do_sample=False, streamer=heard)
        return first[0]

    def ask(turns: Turns) -> tuple[float, float]:
        pipe.start_chat(turns[0])
        took = say(turns[1]), say(turns[3])
        pipe.finish_chat()
        return took

    return ask


def main() -> None:
    name, path, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    sys.path.append(sys.argv[4])  # our own environment, for what this one lacks: the gguf package
    ask = {"transformers": transformers, "OpenVINO": openvino}[name](path, threads)
    for line in sys.stdin:
        print("TOOK", json.dumps(ask(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
