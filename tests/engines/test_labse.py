"""Tests of the LaBSE estimator: scores are cosines of a BERT model's pooled vectors, also in scripts/translate.py."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import tiny_translation as tiny
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from mothertongue.common.errors import UserError
from mothertongue.formats.messages import MESSAGES, TRANSLATED, read, write
from mothertongue.translation import estimators

PAIRS = [(english, dutch) for english, _, dutch in tiny.PHRASES] + [
    ("", "Ja."),
    ("a\ud800", "a"),
    ("Yes. " * 400, "Ja."),
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny.saved(tmp_path_factory.getbasetemp(), tiny.save_bert)


@pytest.fixture(scope="module")
def labse(encoder):
    return estimators.find("labse")(1, encoder)


def test_scores_are_the_cosines_of_the_models_pooled_vectors(encoder, labse):
    tokenizer, model = AutoTokenizer.from_pretrained(encoder), AutoModel.from_pretrained(encoder).eval()

    def vector(text):
        tokens = tokenizer(
            text.encode("utf-8", "replace").decode(), truncation=True, max_length=128, return_tensors="pt"
        )
        with torch.inference_mode():
            return model(**tokens).pooler_output[0]

    expected = [torch.cosine_similarity(vector(a), vector(b), dim=0).item() for a, b in PAIRS]
    assert labse.scores(PAIRS) == pytest.approx(expected, abs=1e-5)
    assert labse.scores(PAIRS * 200)[-len(PAIRS) :] == pytest.approx(expected, abs=1e-5) and labse.scores([]) == []
    assert max(expected) - min(expected) > 0.1


def damaged(encoder, folder, change):
    shutil.copytree(encoder, folder)
    change(folder)
    return folder


def without_pooling(folder):
    weights = {name: tensor for name, tensor in load_file(folder / "model.safetensors").items() if "pooler" not in name}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def with_pooling_beside_it(folder):
    (folder / "modules.json").write_text("[]")


def of_another_kind(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "no such"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_pooling, "weights are missing"),
        (of_another_kind, "no such"),
        (with_pooling_beside_it, "sentence-transformers"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"damaged"), "model.safetensors"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model"),
    ],
)
def test_a_folder_without_a_sentence_encoder_is_refused_in_one_line(encoder, tmp_path, change, message):
    with pytest.raises(UserError, match=message) as error:
        estimators.find("labse")(1, damaged(encoder, tmp_path / "model", change))
    assert "\n" not in str(error.value)


def test_a_missing_model_or_threshold_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(UserError, match=r"fetch_estimator\.py"):
        estimators.find("labse")(1)
    assert "calibrate_quality.py" in estimators.no_threshold("labse")


def run(script, *options):
    command = [sys.executable, f"scripts/{script}.py", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True)


def test_translate_scores_translations_with_a_fetched_encoder(encoder, tmp_path):
    fetched, model = tmp_path / "fetched", tmp_path / "model"
    done = run("fetch_estimator", "--model", encoder, "--output", fetched)
    assert done.returncode == 0, done.stderr
    hub = tiny.saved(tmp_path, tiny.save_marian)
    assert run("fetch_translation_model", "--engine", "opus-mt", "--model", hub, "--output", model).returncode == 0
    rows = [
        {"message_id": str(number), "text": text, "role": "prompter", "lang": "en", "message_tree_id": str(number),
         "split": "train", "source_lang": "en"}
        for number, text in enumerate(tiny.ENGLISH)
    ]  # fmt: skip
    write(pa.Table.from_pylist([dict.fromkeys(MESSAGES.names) | row for row in rows], MESSAGES), tmp_path / "0.parquet")
    common = ("--shard", tmp_path / "0.parquet", "--source=en", "--target=pt", "--route=direct", "--engine=opus-mt",
              "--model", model, "--device=cpu", "--meaning=labse", "--output", tmp_path / "out.parquet")  # fmt: skip
    refused = run("translate", *common, "--meaning-model", fetched)
    assert refused.returncode and "quality.meaning_threshold" in refused.stderr.splitlines()[-1]
    done = run("translate", *common, "--meaning-model", fetched, "--meaning-threshold=1")
    assert done.returncode == 0, done.stderr
    found = read(Path(tmp_path / "out.parquet"), TRANSLATED).to_pylist()
    assert all(row["meaning"] is not None and row["reasons"] for row in found)
    expected = estimators.find("labse")(1, fetched).scores([(found[0]["source_text"], found[0]["text"])])
    assert found[0]["meaning"] == pytest.approx(expected[0], abs=1e-5)
