"""Handmade files of a run in the formats that the steps write, for the pages that show them."""

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
from oasst import row
from running import program
from steps import combined

from mothertongue.common.atomic_files import sha256
from mothertongue.dataset import combine, quality_report
from mothertongue.evaluation import systems
from mothertongue.formats.messages import SPLITS, TRANSLATED, write

MODELS = ("base", "adapter")
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 300" width="600" height="300"><text x="20" y="40">{}</text></svg>'
# A question, its answer, and a first question in English, by target language.
TEXTS = {
    "pt": ("Como faço um bolo de cenoura sem açúcar?", "Misture a cenoura, os ovos e a farinha, e asse por quarenta minutos."),
    "ar": ("كيف أصنع كعكة الجزر بدون سكر؟", "اخلط الجزر والبيض والدقيق، ثم اخبزها لمدة 40 دقيقة في فرن ساخن."),
    "he": ("איך מכינים עוגת גזר בלי סוכר?", "מערבבים את הגזר, הביצים והקמח, ואופים במשך 40 דקות בתנור חם."),
    "ja": ("砂糖を使わないにんじんケーキの作り方を教えてください。", "にんじん、卵、小麦粉を混ぜて、温めたオーブンで40分焼きます。"),
}  # fmt: skip
ENGLISH = "How do I bake a carrot cake without sugar, please, and how long does it need in the oven?"


def message(id_, source, status, route, text, source_text=ENGLISH, split="train", **more):
    values = {"split": split, "source_lang": source, "source_text": source_text, "status": status, "route": route}
    values |= {
        "model": "owner/en-xx@1a2b3c" if route == "direct" else None,
        "reasons": [],
        "score": None,
        "meaning": None,
    }
    return row(id_, lang="xx", text=None if status == "failed" else text) | values | more


def messages(lang, extra=()):
    """Return messages of every status and of several routes."""
    question, answer = TEXTS[lang]
    some = [message(f"t{i}", "en", "translated", "direct", f"{answer} {i}", score=-0.4) for i in range(40)]
    some += [message(f"v{i}", "en", "translated", "direct", question, split="validation", score=-0.5) for i in range(4)]
    some += [message(f"n{i}", lang, "native", "native", answer, source_text=answer) for i in range(12)]
    some += [message(f"c{i}", "en", "copied", "direct", "`1 + 1`", source_text="`1 + 1`") for i in range(2)]
    some += [message("g0", "en", "flagged", "direct", answer * 3, reasons=["repetition"], score=-1.9)]
    some += [message(f"p{i}", "ru", "translated", "pivot", answer, model="owner/ru-en@1a2b3c+owner/en-xx@1a2b3c",
                     source_text="Как испечь морковный пирог без сахара, и сколько времени он должен стоять в духовке?") for i in range(6)]  # fmt: skip
    some += [message(f"f{i}", "es", "failed", "none", None, source_text="¿Cómo hago una tarta?", reasons=["no route"]) for i in range(3)]  # fmt: skip
    return [*some, *extra]


def measured(value, width, n, high=1.0):
    return {"value": value, "low": max(0.0, value - width), "high": min(high, value + width), "n": n}


def change(value, width, n):
    return {"value": value, "low": value - width, "high": value + width, "n": n}


def metrics(lang, native=True, known=True):
    """Return the metrics of an evaluation: with or without native prompts, of a language that lid.176 knows or not."""
    values = {side.name: 0.3 + 0.13 * number for number, side in enumerate(systems.of_models(MODELS))}

    def answers(side, n):
        found = {"ended": measured(0.4, 0.2, n), "repetition": measured(0.12, 0.05, n)}
        found["chrf"] = measured(18.3, 4.1, n, 100)
        return found | {"in_language": measured(values[side], 0.15, n) if known else None}

    kinds = {"all": 24, "translated": 12} | ({"native": 12} if native else {})
    losses = {"base": (1.75, 1.83, 1.05), "adapter": (1.58, 1.6, 1.08)}
    return {
        "lang": lang,
        "models": list(MODELS),
        "prompts": {
            "native": {"count": 12 if native else 0, "from": {}, "seen_in_training": 2, "too_long": 0},
            "translated": {"count": 12, "from": {"messages": 12}, "seen_in_training": 0, "too_long": 1},
        },
        "answers": {side: {kind: answers(side, n) for kind, n in kinds.items()} for side in values},
        "bits_per_byte": {
            model: {
                "native": measured(numbers[0], 0.1, 17, 9) if native else None,
                "translated": measured(numbers[1], 0.1, 8, 9),
                "english": measured(numbers[2], 0.1, 9, 9),
            }
            for model, numbers in losses.items()
        },
        "differences": {
            "adapter": {
                "base": {
                    "answers": {
                        kind: {"in_language": change(0.39, 0.2, n) if known else None} for kind, n in kinds.items()
                    },
                    "bits_per_byte": {
                        "native": change(-0.17, 0.05, 17) if native else None,
                        "translated": change(-0.23, 0.3, 8),
                    },
                }
            }
        },
        "settings": {
            "prompts": 24,
            "max_new_tokens": 100,
            "decoding": "greedy",
            "confidence": 0.95,
            "quantization": "none",
            "dtype": "bfloat16",
        },
    }


def samples(lang, native=True, extra=()):
    question, answer = TEXTS[lang]
    asked = [("translated", f"{question} (2)"), *([("native", question)] if native else []), *extra]
    return [
        {"side": side.name, "kind": kind, "from": "x", "prompt": prompt, "reference": answer, "answer": answer,
         "in_language": side.model == "adapter", "ended": True, "repetition": 0.1, "chrf": 31.2}
        for side in systems.of_models(MODELS) for kind, prompt in asked
    ]  # fmt: skip


def compared(wins, losses, ties, inconsistent=0):
    """Return the figures of a judge about as many pairs as there are outcomes."""
    n = wins + losses + ties + inconsistent
    score = measured((wins + (ties + inconsistent) / 2) / n, 0.1, n)
    counts = {"wins": wins, "losses": losses, "ties": ties, "inconsistent": inconsistent}
    return {"pairs": n, **counts, "identical": 0, "no_verdict": 1, "too_long": 0, "faults": {"no verdict": 2},
            "score": score, "first_position": measured(0.55, 0.05, 2 * n), "consistency": measured(0.8, 0.1, n),
            "longer": measured(0.6, 0.1, n), "length_balanced": score}  # fmt: skip


def judge(lang, results, model="some-judge", withheld=None, votes=None):
    """Return what a judge found about the evaluation of a run; with `withheld`, that it found nothing."""
    groups = {kind: {"found": 90, "figures": compared(60, 20, 10)} for kind in ("translated", "english")}
    figures = compared(14, 4, 4, 2)
    whole = figures | {"by_kind": {"native": compared(5, 5, 2)}}
    pair = {"first": "adapter", "second": "base", "variant": "", "figures": whole}
    return {
        "lang": lang,
        "samples": sha256(results / lang / "evaluation/samples.jsonl"),
        "judge": {"model": model},
        "agreement": {"deciding": "translated", "groups": groups},
        "withheld": withheld,
        "pairs": None if withheld else [pair, pair | {"second": "adapter", "variant": "careful"}],
        "votes": votes,
    }


TRAINING = {
    "settings": {"method": "sft", "quantization": "none", "lora_rank": 16},
    "device": "cpu",
    "training": {"losses": [3.7, 3.1, 2.5], "margins": [], "validation": [[2, 3.0], [3, 2.6]], "best_step": None,
                 "steps": 3, "sequences_a_step": 4, "tokens": 6519, "seconds": 85.9, "peak_memory_mb": 3139,
                 "tokens_per_second": 75.9},
    "system_prompt": "",
    "base_model": {"reference": "owner/base", "revision": "abc", "licence": "llama2", "hub_id": "owner/base"},
    "data": {"threads": 20, "cut_threads": 1, "tokens": 4_000, "too_long": "split", "sha256": "3b95"},
}  # fmt: skip


def write_run(results: Path, lang: str, native=True, known=True, extra=(), prompts=(), evaluated=True, benchmarks=True):
    """Write the files of a run from which the report of results/{lang} is made."""
    own = results / lang

    def put(path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        path.write_text(text, encoding="utf-8")

    table = pa.Table.from_pylist(messages(lang, extra), schema=TRANSLATED)
    splits, counted = combined([table], "drop")
    numbers = Counter(zip(table["split"].to_pylist(), table["source_lang"].to_pylist(), strict=True))
    counts = {
        split: {
            lang: {"messages": count, "excluded_because": {"language": 0, "scope": 0}}
            for (own_split, lang), count in sorted(numbers.items())
            if own_split == split
        }
        for split in SPLITS
    }
    counts["train"]["fr"] = {"messages": 9, "excluded_because": {"language": 9, "scope": 0}}
    put(own / "dataset/accounting.json", combine.account(counts, counted))
    put(own / "dataset/quality.json", quality_report.report([table], lang))
    for split in SPLITS:
        write(splits[split], own / f"dataset/{split}.parquet")
    for split, threads, used in (("train", 20, 44), ("validation", 2, 4)):
        account = {"threads": threads, "messages": {"in a thread": used, "unanswered": 3}}
        put(own / f"threads/{split}.accounting.json", account)
    put(own / "adapter/training.json", TRAINING)
    put(results / "source/fetched.json", {"dataset": ["owner/data"], "resolved": {"owner/data": "sha256:0123abcd"}})
    for name, licence in (("en-xx", "cc-by-nc-4.0"), ("ru-en", "apache-2.0")):
        record = {
            "reference": f"owner/{name}",
            "revision": "1a2b3c",
            "licence": licence,
            "files": {"model.bin": "feed"},
        }
        put(results / f"models/translation/owner--{name}/fetched.json", record)
    base = {"reference": "owner/base", "revision": "abc", "licence": None, "files": {"model.safetensors": "beef"}}
    put(results / "models/base/owner--base/fetched.json", base)
    if evaluated:
        put(own / "evaluation/metrics.json", metrics(lang, native, known))
        lines = [json.dumps(sample, ensure_ascii=False) for sample in samples(lang, native, prompts)]
        put(own / "evaluation/samples.jsonl", "\n".join(lines) + "\n")
        for plot in ("language", "bits_per_byte", "training"):
            put(own / f"evaluation/{plot}.svg", SVG.format(plot))
    if benchmarks:
        for shard, seconds in enumerate((1800.0, 5400.0)):
            job = {"s": seconds, "cpu_time": 100.0, "max_rss": 2000.0 + shard}
            put(results / f"benchmarks/{lang}/translated/en/{shard}.jsonl", json.dumps(job) + "\n")
            put(results / f"logs/{lang}/translated/en/{shard}.log", "runs on node1, GPUs 0,1\ntranslate: 1 of 2\n")
        put(
            results / f"benchmarks/{lang}/adapter.jsonl",
            json.dumps({"s": 86.0, "cpu_time": "NA", "max_rss": None}) + "\n",
        )


def report(results: Path, lang: str, output: Path, *arguments: str) -> str:
    """Run scripts/report.py on a run, and return the page."""
    own, models = results / lang, results / "models"
    program("report", "--target", lang, "--source", results / "source/fetched.json",
            "--source-name", "owner/data", "--source-licence", "apache-2.0",
            "--models", models / "translation/owner--en-xx", models / "translation/owner--ru-en",
            "--base-model", models / "base/owner--base", "--dataset", own / "dataset",
            "--threads", own / "threads/train.jsonl", own / "threads/validation.jsonl",
            "--adapter", own / "adapter", "--evaluation", own / "evaluation", "--results", results,
            "--settings", '{"tuning.lora.rank": 16}', "--output", output, *arguments)  # fmt: skip
    return output.read_text(encoding="utf-8")
