"""Tests, with the real Snakemake, that an edit rebuilds only what it makes stale. The tests build on one another."""

import json
import os
import re
import shutil
import time

import pyarrow.parquet as pq
from running import ADAPTER, CHAIN

PREFERENCES = [f"results/demo/pt/preferences/{split}.jsonl" for split in ("train", "validation")]
DOWNSTREAM = {"combine": 1, "threads": 2, "tune": 1, "evaluate": 1}


def test_the_dry_run_on_a_fresh_copy_shows_every_job(project):
    output = project.build("-n", *CHAIN).output
    for line in (
        "translate                      5",
        "tune                           1",
        "evaluate                       1",
    ):
        assert line in output
    assert not list(project.root.glob("results/demo/*"))


def test_the_first_run_builds_everything(built):
    jobs = built.first.jobs
    assert (
        jobs
        == {
            "fetch": 1,
            "fetch_translation_model": 1,
            "fetch_base_model": 1,
            "split": 1,
            "translate": 5,
        }
        | DOWNSTREAM
    )


def test_a_second_run_does_nothing(built):
    run = built.build()
    assert run.jobs == {} and "Nothing to be done" in run.output


def test_a_touched_file_rebuilds_nothing(built):
    later = time.time() + 5
    touched = [
        "messages.jsonl",
        "scripts/translate.py",
        "scripts/mothertongue/translation/segments.py",
        "config/templates/chatml.jinja",
    ]
    touched += [
        "config/prompts/pt.txt",
        "results/demo/source/shards/en/1.parquet",
        "results/demo/pt/dataset/train.parquet",
    ]
    for name in touched:
        os.utime(built.root / name, (later, later))
    assert built.build().jobs == {}
    # The next outputs must not be older than their inputs.
    time.sleep(max(0, later - time.time()))


def test_one_edited_message_translates_one_shard(built):
    rows = built.read_messages()
    row = next(r for r in rows if r["lang"] == "en" and r["role"] == "assistant" and r["rank"] == 0)
    row["text"] = "This answer has been rewritten. It is short now."
    built.write_messages(rows)
    before = built.bytes("results/demo/pt/translated/**/*.parquet")
    assert built.build().jobs == {"fetch": 1, "split": 1, "translate": 1} | DOWNSTREAM
    after = built.bytes("results/demo/pt/translated/**/*.parquet")
    assert sum(before[name] != after[name] for name in before) == 1


def test_the_memory_leaves_only_new_texts_to_translate_and_changes_no_output(built):
    """The edit of the previous test added two sentences."""

    def entries():
        files = built.root.glob("results/demo/memory/*.parquet")
        return {path.name: pq.read_metadata(path).num_rows for path in files}

    shards = "results/demo/pt/translated/**/*.parquet"
    before, known = built.bytes(shards), entries()
    assert set(known) == {f"en-pt-{shard}.parquet" for shard in range(3)} and min(known.values()) > 10
    targets = sorted(name for name in before if "/en/" in name)
    for path in targets:
        (built.root / path).unlink()
    assert built.build(*targets).jobs == {"translate": 3} and entries() == known
    assert built.bytes(shards) == before
    # With a stricter threshold the stored translations are checked again, and those that fail are retried.
    strict = built.build("--config", "quality={length_ratio: 1.5}", "--", *targets)
    assert strict.jobs == {"translate": 3} and built.bytes(shards) != before
    shutil.rmtree(built.root / "results/demo/memory")
    for path in targets:
        (built.root / path).unlink()
    assert built.build("--config", "translation={memory: false}", "--", *targets).jobs == {"translate": 3}
    assert built.bytes(shards) == before and entries() == {}


def test_an_edited_message_outside_the_source_languages_translates_nothing(built):
    rows = built.read_messages()
    next(r for r in rows if r["lang"] == "de")["text"] = "Etwas ganz anderes."
    built.write_messages(rows)
    assert built.build().jobs == {"fetch": 1, "split": 1}


def test_a_changed_lora_rank_tunes_again(built):
    built.configure(tuning={"lora": {"rank": 8}})
    assert built.build().jobs == {"tune": 1, "evaluate": 1}


def test_settings_that_change_no_weight_do_not_tune_again(built):
    built.configure(tuning={"checkpoint_minutes": 3, "report_to": "tensorboard", "gpus": 0})
    assert built.build().jobs == {}


def test_a_variant_is_built_without_rebuilding_the_adapter(built):
    """The variant uses DPO: its SFT adapter and its preferences are built, the language's own adapter is unchanged."""
    before = built.bytes("results/demo/pt/adapter/**/*")
    variant, own = (
        "results/demo/pt/variants/likes/evaluation/metrics.json",
        {"preferences": 2, "tune": 2, "evaluate": 1},
    )
    built.configure(variants={"likes": {"method": "dpo", "lora": {"rank": 2}, "max_steps": 2}})
    assert built.build(variant).jobs == own
    assert built.build(variant, *CHAIN).jobs == {}
    assert built.bytes("results/demo/pt/adapter/**/*") == before
    # The evaluation of DPO also includes the SFT adapter.
    metrics = json.loads((built.root / variant).read_text())
    assert metrics["models"] == list(metrics["bits_per_byte"]) == ["base", "sft", "adapter"]
    assert {"sft", "sft_system_prompt", "adapter"} < set(metrics["answers"])
    # A setting that only DPO uses does not rebuild the SFT adapter.
    built.configure(variants={"likes": {"method": "dpo", "lora": {"rank": 2}, "max_steps": 2, "dpo": {"beta": 0.2}}})
    assert built.build(variant, *CHAIN).jobs == {"tune": 1, "evaluate": 1}


def test_a_changed_system_prompt_makes_new_threads(built):
    threads = "results/demo/pt/threads/train.jsonl"
    built.configure(threads={"system_prompt": ""})
    assert built.build(threads).jobs == {"threads": 1}
    assert '"role": "system"' not in (built.root / threads).read_text(encoding="utf-8")
    built.configure(threads={"system_prompt": "Responda sempre em português."})
    assert built.build().jobs == {"threads": 2, "tune": 1, "evaluate": 1}


def test_preferences_are_made_from_the_existing_dataset(built):
    assert built.build(*PREFERENCES).jobs == {"preferences": 2}
    for path in PREFERENCES:
        rows = [json.loads(line) for line in (built.root / path).read_text(encoding="utf-8").splitlines()]
        account = json.loads((built.root / path.replace(".jsonl", ".accounting.json")).read_text())
        assert account["pairs"] == len(rows) == account["replies"]["chosen"] > 0
        assert all(row["prompt"][0] == {"role": "system", "content": "Responda sempre em português."} for row in rows)


def test_another_setting_of_pairs_rebuilds_only_the_preferences(built):
    built.configure(preferences={"pairs": "best_vs_all"})
    assert built.build(*PREFERENCES, *CHAIN).jobs == {"preferences": 2}


def test_settings_of_translation_rebuild_only_the_shards_that_they_affect(built):
    dataset = "results/demo/pt/dataset/train.parquet"

    def planned(values):
        output = built.build("-n", dataset, "--config", f"translation={values}").output
        return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}

    again = {"translate": 3, "combine": 1, "total": 4}  # the English shards; the others use no model
    assert planned("{beam_size: 4}") == planned("{batch_tokens: 128}") == planned("{device: cpu}") == again
    # A second model is fetched without fetching the first one again.
    fallback = "{fallback: {engine: opus-mt, models: {en-pt: a/b, es-en: null}}}"
    assert planned(fallback) == again | {"fetch_translation_model": 1, "total": 5}
    assert planned("{allow_noncommercial: true}") == planned('{prompt: "Say {text}"}') == {}
    output = built.build("-n", dataset, "--config", "quality={score: -0.5}").output
    assert re.search(r"translate +3\n", output)


def test_an_edited_library_module_makes_its_users_stale(built):
    module = built.root / "scripts/mothertongue/dataset/trees.py"
    module.write_text(module.read_text() + "\n# A remark.\n")
    assert built.build().jobs == {"split": 1, "threads": 2, "tune": 1, "evaluate": 1}


def test_edits_of_wording_settings_and_hub_modules_make_nothing_stale(built):
    for name in (
        "cards/adapter.py",
        "models/hub.py",
        "report/sankey.py",
        "tuning/settings.py",
        "translation/settings.py",
    ):
        module = built.root / "scripts/mothertongue" / name
        module.write_text(module.read_text() + "\n# A remark.\n")
    template = built.root / "scripts/mothertongue/cards/adapter.md.jinja"
    template.write_text(template.read_text().replace("LoRA", "lora"))
    assert built.build().jobs == {}


def test_another_english_name_of_a_language_trains_nothing(built):
    table = built.root / "config/languages.tsv"
    table.write_text(table.read_text().replace("\tPortuguese\t", "\tLusitanian\t"))
    run = built.build("-n", ADAPTER)
    assert "Nothing to be done" in run.output
    assert "Lusitanian" in built.build("-n", "--forcerun", "combine", "--printshellcmds", "--", ADAPTER).output


def test_a_new_source_language_does_not_rebuild_the_others(built):
    built.configure(source={"languages": ["en", "pt", "es", "de"]}, translation={"models": {"de-en": None}})
    assert built.build().jobs == {"split": 1, "translate": 1} | DOWNSTREAM


def test_more_shards_translate_their_language_again(built):
    built.configure(source={"shards": {"en": 4}})
    assert built.build("results/demo/pt/dataset/train.parquet").jobs == {"split": 1, "translate": 4, "combine": 1}


def test_an_edited_script_that_changes_no_message_translates_nothing(built):
    script = built.root / "scripts/fetch.py"
    script.write_text(script.read_text() + "\n# A remark.\n")
    assert built.build("results/demo/pt/dataset/train.parquet").jobs == {"fetch": 1, "split": 1}


def test_the_account_of_the_last_build_adds_up(built):
    accounting = built.accounting()
    total = accounting["total"]
    assert total["messages"] == len(built.read_messages()) == total["excluded"] + sum(total["status"].values())
    assert total["status"]["native"] and total["status"]["translated"] and total["status"]["failed"]
    assert total["route"]["none"] == total["status"]["failed"]
