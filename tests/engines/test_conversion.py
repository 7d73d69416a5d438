"""Tests of fetching and converting translation models: unsuitable models end in one line and leave no folder."""

import json
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import tiny_translation as tiny
import torch
from safetensors.torch import load_file, save_file

import fetch_translation_model
from mothertongue.common.errors import UserError, run
from mothertongue.models.record import read_record
from mothertongue.translation import engines
from mothertongue.translation.settings import EngineSettings

MARIAN, CHAT, NLLB, MADLAD, SEAMLESS = (
    tiny.save_marian, tiny.save_chat_model, tiny.save_nllb, tiny.save_madlad400, tiny.save_seamless
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")


@pytest.fixture
def copied(tmp_path, tmp_path_factory):
    """Return a function that copies a tiny model, so that the test can damage it."""

    def copy(save, *arguments):
        folder = tmp_path / "model"
        shutil.copytree(tiny.saved(tmp_path_factory.getbasetemp(), save, *arguments), folder)
        return folder

    return copy


@pytest.fixture
def fetch(tmp_path, monkeypatch):
    """Return a function that runs the fetch program and returns its error line, or None if it succeeds."""

    def fetch(engine, model, *options):
        before = sorted(tmp_path.iterdir())
        output = tmp_path / "fetched"
        arguments = ["--engine", engine, "--model", str(model), "--output", str(output), *options]
        monkeypatch.setattr(sys, "argv", ["fetch_translation_model.py", *arguments])
        try:
            run(fetch_translation_model.main)
        except SystemExit as stopped:
            assert sorted(tmp_path.iterdir()) == before
            assert stopped.code.startswith("fetch_translation_model.py: error: ") and "\n" not in stopped.code
            return stopped.code
        assert output.is_dir()
        return None

    return fetch


@pytest.fixture
def load(tmp_path, fetch):
    """Return a function that fetches a model and loads it with an engine's settings."""

    def load(engine, model, **settings):
        assert fetch(engine, model, "--allow-noncommercial") is None
        return engines.find(engine)(tmp_path / "fetched", EngineSettings(**{"device": "cpu", **settings}))

    return load


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without(folder, *names):
    """Remove weights from a model's file."""
    weights = load_file(folder / "model.safetensors")
    for name in names:
        del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def reshaped(folder, name):
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {name: torch.zeros(3, 3)}, folder / "model.safetensors", {"format": "pt"})


def as_pickle(folder, content=None):
    """Replace a model's weights by a pickle of them, or of `content`."""
    torch.save(content or load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


FC1 = "model.decoder.layers.0.fc1.weight"
DAMAGED = [
    ("opus-mt", MARIAN, lambda folder: shutil.rmtree(folder), "no such folder"),
    ("opus-mt", MARIAN, lambda folder: [path.unlink() for path in folder.iterdir()], "config.json: no such file"),
    ("opus-mt", MARIAN, lambda folder: (folder / "config.json").unlink(), "config.json: no such file"),
    ("opus-mt", MARIAN, lambda folder: cut(folder / "config.json"), "config.json: not JSON"),
    ("opus-mt", MARIAN, lambda folder: (folder / "config.json").write_text("[]"), "config.json: is not a JSON object"),
    ("opus-mt", CHAT, None, "is a 'llama', and this engine runs 'marian' models"),
    ("nllb", MARIAN, None, "is a 'marian', and this engine runs 'm2m_100' models"),
    ("seamless-m4t", MARIAN, None, "is a 'marian', and this engine runs 'seamless_m4t_v2' models"),
    ("seamless-m4t", NLLB, None, "no weights in safetensors"),
    ("llm", MARIAN, None, "is a 'marian', and this engine runs chat models"),
    ("opus-mt", MARIAN, lambda folder: (folder / "model.safetensors").unlink(), "no file named model.safetensors"),
    ("opus-mt", MARIAN, lambda folder: cut(folder / "model.safetensors"), "model.safetensors: not a safetensors file"),
    ("opus-mt", MARIAN, lambda folder: without(folder, FC1), f"missing or of another shape (1, such as {FC1})"),
    ("opus-mt", MARIAN, lambda folder: reshaped(folder, FC1), f"missing or of another shape (1, such as {FC1})"),
    ("madlad400", MADLAD, lambda folder: without(folder, "lm_head.weight"), "weights are missing"),
    ("madlad400", MADLAD, lambda folder: without(folder, "decoder.embed_tokens.weight"), "weights are missing"),
    ("nllb", NLLB, lambda folder: cut(folder / "pytorch_model.bin"), "cannot load the model's weights"),
    ("nllb", NLLB, lambda folder: (folder / "pytorch_model.bin").write_bytes(b""), "the model's weights: EOFError"),
    ("nllb", NLLB, lambda folder: (folder / "sentencepiece.bpe.model").unlink(), "no SentencePiece file"),
    ("opus-mt", MARIAN, lambda folder: (folder / "target.spm").unlink(), "cannot load the model's tokenizer"),
    ("opus-mt", MARIAN, lambda folder: cut(folder / "source.spm"), "cannot load the model's tokenizer"),
    ("opus-mt", MARIAN, lambda folder: (folder / "vocab.json").unlink(), "cannot load the model's tokenizer"),
]


@pytest.mark.parametrize(("engine", "save", "damage", "message"), DAMAGED)
def test_a_damaged_or_foreign_model_is_refused(copied, fetch, engine, save, damage, message):
    model = copied(save)
    if damage:
        damage(model)
    line = fetch(engine, model, "--allow-noncommercial")
    assert message in line and str(model) in line and ".partial" not in line


class Malicious:
    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return Path.touch, (self.victim,)


def test_code_in_a_pickle_never_runs(copied, fetch, tmp_path):
    victim = tmp_path / "victim"
    model = copied(MARIAN)
    as_pickle(model, {FC1: Malicious(victim)})
    assert "more than tensors" in fetch("opus-mt", model)
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Malicious(victim), protocol=2))
    assert "more than tensors" in fetch("opus-mt", model)
    assert not victim.exists()
    pickle.loads((model / "pytorch_model.bin").read_bytes())
    assert victim.exists()


def test_a_pickle_of_weights_gives_the_same_model(copied, fetch, tmp_path):
    model = copied(MARIAN)
    assert fetch("opus-mt", model) is None
    expected = (tmp_path / "fetched/model.bin").read_bytes()
    as_pickle(model)
    assert fetch("opus-mt", model) is None
    assert (tmp_path / "fetched/model.bin").read_bytes() == expected


def test_a_licence_against_commercial_use_must_be_allowed(copied, fetch, tmp_path):
    model = copied(MARIAN)
    (model / "README.md").write_text("---\nlanguage:\n- en\n- pt\nlicense: cc-by-nc-4.0\n---\n# A model\n")
    assert "cc-by-nc-4.0" in fetch("opus-mt", model)
    assert fetch("opus-mt", model, "--allow-noncommercial") is None
    assert read_record(tmp_path / "fetched")["licence"] == "cc-by-nc-4.0"


@pytest.mark.parametrize(("engine", "save"), [("nllb", NLLB), ("seamless-m4t", SEAMLESS)])
def test_a_model_without_a_licence_has_that_of_its_family(copied, fetch, engine, save):
    assert "cc-by-nc-4.0" in fetch(engine, copied(save))


PAIR = {"source_code": "eng_Latn", "target_code": "por_Latn"}
REFUSED = [
    ("opus-mt", MARIAN, (tiny.TARGETS, True), {}, "needs a target token.*: >>nld<< >>por<<"),
    ("opus-mt", MARIAN, (tiny.TARGETS, True), {"target_code": ">>deu<<"}, "target token >>deu<<.*: >>nld<< >>por<<"),
    ("opus-mt", MARIAN, (), {"target_code": ">>por<<"}, "target token >>por<<.*single target language"),
    ("nllb", NLLB, (), PAIR | {"target_code": "xyz_Latn"}, "no language token 'xyz_Latn'"),
    ("nllb", NLLB, (), PAIR | {"source_code": ""}, "no language token ''"),
    ("madlad400", MADLAD, (), {"target_code": "<2xyz>"}, "no language token '<2xyz>'"),
    ("seamless-m4t", SEAMLESS, (), {"source_code": "eng", "target_code": "xyz"}, "'xyz'; it knows eng, nld, por"),
    ("seamless-m4t", SEAMLESS, (), {"source_code": "xyz", "target_code": "por"}, "'xyz'; it knows eng, nld, por"),
    ("opus-mt", MARIAN, (), {"compute_type": "int3"}, "int3"),
    ("llm", CHAT, (), {"compute_type": "int8"}, "int8: this engine has float32"),
]


@pytest.mark.parametrize(("engine", "save", "arguments", "settings", "message"), REFUSED)
def test_settings_that_a_model_does_not_support_are_refused(copied, load, engine, save, arguments, settings, message):
    with pytest.raises(UserError, match=message):
        load(engine, copied(save, *arguments), **settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(("engine", "save"), [("opus-mt", MARIAN), ("llm", CHAT)])
def test_a_missing_cuda_device_is_reported(copied, load, engine, save):
    with pytest.raises(UserError, match="no CUDA device"):
        load(engine, copied(save), device="cuda")


NAME = "text_decoder.layers.0.ffn.fc1.weight"


@pytest.mark.parametrize("damage", [lambda model: without(model, NAME), lambda model: cut(model / "model.safetensors")])
def test_a_damaged_model_of_a_generating_engine_is_not_loaded(copied, fetch, tmp_path, damage):
    model = copied(SEAMLESS)
    assert fetch("seamless-m4t", model, "--allow-noncommercial") is None
    damage(model)  # the fetched folder links to it
    with pytest.raises(UserError, match=r"weights are missing \(1, such as|not a safetensors file"):
        engines.find("seamless-m4t")(tmp_path / "fetched", EngineSettings("eng", "por", device="cpu"))


@pytest.mark.parametrize("name", ["source.spm", "fetched.json", "original_config.json"])
def test_a_damaged_converted_model_is_not_loaded(copied, fetch, tmp_path, name):
    assert fetch("opus-mt", copied(MARIAN)) is None
    (tmp_path / "fetched" / name).write_text("nonsense")
    with pytest.raises(UserError, match=r"damaged|not JSON"):
        read_record(tmp_path / "fetched")
        engines.find("opus-mt")(tmp_path / "fetched", EngineSettings(device="cpu"))


def test_an_unconverted_model_is_not_loaded(copied):
    with pytest.raises(UserError, match="fetch_translation_model"):
        engines.find("opus-mt")(copied(MARIAN), EngineSettings(device="cpu"))


def test_tokens_without_weights_are_not_used(copied, load):
    """By default, T5's tokenizer adds tokens for which MADLAD-400 has no weights."""
    model = copied(MADLAD)
    settings = json.loads((model / "tokenizer_config.json").read_text())
    del settings["extra_ids"], settings["additional_special_tokens"]
    (model / "tokenizer_config.json").write_text(json.dumps(settings))
    engine = load("madlad400", model, target_code="<2pt>", compute_type="float32")
    assert engine.translate_all(["Yes."])[0].text
