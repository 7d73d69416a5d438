"""How the cost of the steps without a model grows with the messages.

    python tests/benchmarks/growth.py [results/benchmarks/growth.json] [--messages 88838 200000 4000000]

The messages are the trees of an OASST file, repeated with other ids until there are enough, all said to be in the
target language, so that translate copies them. It prints seconds and peak memory of each script as a process of its
own: fetch, split, translate (all shards, one after another), combine, threads, preferences. Four million messages of
OASST1's size take about 25 GB of the folder for temporary files (TMPDIR).
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from mothertongue.common import hardware
from mothertongue.common.atomic_files import write_json
from mothertongue.common.errors import run

ROOT = Path(__file__).parents[2]
TEXTS = ROOT.parent / "shared/data/oasst/oasst1-en-sample.jsonl"
TARGET = "pt"
SHARDS = 8


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path, default=ROOT / "results/benchmarks/growth.json")
    parser.add_argument("--texts", type=Path, help="OASST file (.jsonl) (default: ../shared's, else the demo's)")
    parser.add_argument(
        "--messages",
        type=int,
        nargs="+",
        default=[40_000, 88_838, 200_000],
        help="sizes (default: OASST1's and around)",
    )
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    path = arguments.texts or (TEXTS if TEXTS.is_file() else ROOT / "config/demo/messages.jsonl")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    sizes = {}
    print(f"{'messages':>10}{'step':>12}{'seconds':>10}{'MB':>8}{'µs a message':>15}")
    for count in arguments.messages:
        with tempfile.TemporaryDirectory() as folder:
            sizes[count] = measure(rows, count, Path(folder))
        for step, (seconds, peak) in sizes[count].items():
            print(f"{count:10,}{step:>12}{seconds:10.1f}{peak / 1e6:8,.0f}{seconds / count * 1e6:15,.0f}", flush=True)
    write_json(arguments.output, {"texts": path.name, "machine": hardware.description(), "sizes": sizes})
    print(f"-> {arguments.output}")


def measure(rows: list[dict], count: int, folder: Path) -> dict[str, tuple[float, int]]:
    """Return the seconds and the peak memory in bytes of each step."""
    source, messages, shards = folder / "source.jsonl", folder / "messages.parquet", folder / "shards"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in itertools.islice(repeated(rows), count))
    translated = {shards / TARGET / f"{number}.parquet": folder / f"{number}.parquet" for number in range(SHARDS)}
    dataset, counts = folder / "dataset", folder / "counts.json"
    template = {"template": ROOT / "config/templates/chatml.jinja"}
    extracted = {
        step: [
            {"dataset": dataset / "train.parquet", "output": folder / f"{step}.jsonl"}
            | {"accounting": folder / f"{step}.json", "held-out": dataset / "validation.parquet"}
            | (template if step == "threads" else {})
        ]
        for step in ("threads", "preferences")
    }
    steps: dict[str, list[dict]] = {
        "fetch": [{"dataset": source, "output": messages, "max-rows": count, "max-megabytes": 10**6}],
        "split": [{"messages": messages, "shards": f"{TARGET}={SHARDS}", "counts": counts, "output": shards}],
        "translate": [
            {"shard": shard, "source": TARGET, "target": TARGET, "route": "native", "output": output}
            for shard, output in translated.items()
        ],
        "combine": [
            {"shards": list(translated.values()), "counts": counts, "target": TARGET, "name": "Portuguese"}
            | {"source": "OASST", "licence": "apache-2.0", "output": dataset}
        ],
        **extracted,
    }
    found = {}
    for step, runs in steps.items():
        timed_runs = [timed([sys.executable, ROOT / f"scripts/{step}.py", *options(given)]) for given in runs]
        found[step] = sum(seconds for seconds, _ in timed_runs), max(peak for _, peak in timed_runs)
        if step == "fetch":
            source.unlink()
    return found


def options(given: dict) -> list:
    """Return the options of a script; a list is several values of one."""
    return [
        part
        for key, value in given.items()
        for part in ([f"--{key}", *value] if isinstance(value, list) else [f"--{key}={value}"])
    ]


def repeated(rows: list[dict]):
    """Yield the rows again and again, each time as new trees, whose texts share no long run of words."""
    for turn in itertools.count():
        for row in rows:
            ids = {key: row[key] and f"{row[key]}-{turn}" for key in ("message_id", "parent_id", "message_tree_id")}
            words = row["text"].split(" ")
            text = " ".join(f"{word} {turn}" if number % 8 == 7 else word for number, word in enumerate(words))
            yield row | ids | {"lang": TARGET, "text": text}


def timed(command: list) -> tuple[float, int]:
    """Run a command, and return its seconds and peak memory in bytes. Raise CalledProcessError where it fails."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(errors.decode(), file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, usage.ru_maxrss * 1024


if __name__ == "__main__":
    run(main)
