"""Program for vLLM's environment: print the greedy answers, and the perplexity of given tokens, of several models."""

import json
import math
import os
import sys
from pathlib import Path

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest


def main() -> None:
    asked = json.load(sys.stdin)
    found = {}
    for name, (model, adapter) in asked["models"].items():
        llm = LLM(
            model, dtype="float32" if "packed" not in name else "bfloat16", enable_lora=bool(adapter), max_lora_rank=8,
            max_model_len=1024, max_num_seqs=1, enforce_eager=True, enable_prefix_caching=False,
        )  # fmt: skip
        options = {"lora_request": LoRARequest("adapter", 1, adapter)} if adapter else {}
        if adapter:
            options["chat_template"] = (Path(adapter) / "chat_template.jinja").read_text(encoding="utf-8")
        greedy = SamplingParams(temperature=0, max_tokens=asked["tokens"])
        answers = [done.outputs[0] for done in llm.chat(asked["conversations"], greedy, use_tqdm=False, **options)]
        found[name] = {"answers": [answer.text for answer in answers], "perplexity": perplexity(llm, asked["threads"])}
        del llm
    print("FOUND" + json.dumps(found), flush=True)
    # vLLM's threads may abort the process while Python ends.
    os._exit(0)


def perplexity(llm: LLM, threads: list[dict[str, list[int]]]) -> float:
    """Return the perplexity of the labelled tokens, given all tokens before them."""
    settings = SamplingParams(temperature=0, max_tokens=1, prompt_logprobs=0)
    read = llm.generate([{"prompt_token_ids": thread["input_ids"]} for thread in threads], settings, use_tqdm=False)
    losses = [
        -done.prompt_logprobs[at][label].logprob
        for thread, done in zip(threads, read, strict=True)
        for at, label in enumerate(thread["labels"])
        if label >= 0 and at > 0
    ]
    return math.exp(sum(losses) / len(losses))


if __name__ == "__main__":
    main()
