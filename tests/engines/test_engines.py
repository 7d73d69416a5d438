"""Tests of the engines: each gives the same output as transformers, token for token, in any batch."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import ctranslate2
import pyarrow as pa
import pytest
import tiny_translation as tiny
import torch
from paths import SHARED
from safetensors.torch import load_file, save_file
from sentencepiece import SentencePieceProcessor
from tiny_translation import DUTCH, ENGLISH, PORTUGUESE, PROMPT
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, SeamlessM4Tv2ForTextToText

from mothertongue.formats.messages import MESSAGES, TRANSLATED, read, write
from mothertongue.models.references import parse
from mothertongue.translation import engines
from mothertongue.translation.engines.base import Output
from mothertongue.translation.engines.fetch import fetch_model
from mothertongue.translation.settings import EngineSettings

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")
SEGMENTS = [
    *ENGLISH,
    "The station is red.",
    tiny.NAME,
    tiny.MIXED,
    "I",
    "x y z",
    "É só isso, não?",
    "🙂 hi 🙂🙂",
    "中文",
    "ﬁne ½",
    "Where do the children drink coffee, and why does my sister not know the house that is red and the other one?",
    " ".join(ENGLISH[:3]),
]


@dataclass(frozen=True)
class Family:
    """An engine with a tiny model of its family, and the model's codes of English, Portuguese and Dutch."""

    engine: str
    save: Callable
    arguments: tuple = ()
    source: str = ""
    target: str = ""
    other: str = ""
    # The input of transformers' tokenizer for a text.
    asked: str = "{}"
    source_lang: str = ""
    prompt: str = ""


CONVERTED = {
    "opus-mt": Family("opus-mt", tiny.save_marian),
    "opus-mt with target tokens": Family(
        "opus-mt", tiny.save_marian, (tiny.TARGETS, True), "", *tiny.TARGETS, asked=f"{tiny.TARGETS[0]} {{}}"
    ),
    "m2m100": Family("m2m100", tiny.save_m2m100, (), "__en__", "__pt__", "__nl__", source_lang="en"),
    "nllb": Family("nllb", tiny.save_nllb, (), "eng_Latn", "por_Latn", "nld_Latn", source_lang="eng_Latn"),
    "mbart50": Family("mbart50", tiny.save_mbart50, (), "en_XX", "pt_XX", "nl_XX", source_lang="en_XX"),
    "madlad400": Family("madlad400", tiny.save_madlad400, (), "", "<2pt>", "<2nl>", asked="<2pt> {}"),
}
GENERATED = {
    "seamless-m4t": Family("seamless-m4t", tiny.save_seamless, (), "eng", "por", "nld", source_lang="eng"),
    "llm": Family("llm", tiny.save_chat_model, (), "English", "Portuguese", prompt=PROMPT),
}


class Model:
    """A family's model as on the hub, and as fetched by its engine."""

    def __init__(self, family, factory):
        self.family = family
        self.hub = tiny.saved(factory.getbasetemp(), family.save, *family.arguments)
        self.fetched = factory.mktemp("fetched")
        fetch_model(family.engine, parse(str(self.hub)), self.fetched)

    def engine(self, **settings):
        codes = {"source_code": self.family.source, "target_code": self.family.target, "prompt": self.family.prompt}
        values = {"device": "cpu", "compute_type": "float32", **codes, **settings}
        return engines.find(self.family.engine)(self.fetched, EngineSettings(**values))

    @cached_property
    def tokenizer(self):
        """The model's own tokenizer, set to English."""
        tokenizer = AutoTokenizer.from_pretrained(self.hub)
        if self.family.source_lang:
            tokenizer.src_lang = self.family.source_lang
        return tokenizer


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Run torch with one thread: two make tiny models slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=CONVERTED)
def converted(request, tmp_path_factory):
    return Model(CONVERTED[request.param], tmp_path_factory)


@pytest.fixture(scope="module", params=GENERATED)
def generated(request, tmp_path_factory):
    return Model(GENERATED[request.param], tmp_path_factory)


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    return Model(CONVERTED["opus-mt"], tmp_path_factory)


@pytest.fixture
def read_tokens(monkeypatch):
    """Return a list that collects the tokens of CTranslate2's encoder."""
    seen = []

    class Spy(ctranslate2.Translator):
        def translate_batch(self, source, *arguments, **options):
            seen.extend(source)
            return super().translate_batch(source, *arguments, **options)

    monkeypatch.setattr(ctranslate2, "Translator", Spy)
    return seen


def own_tokens(model, text):
    """Return the token ids of a text by the model's own tokenizer."""
    ids = model.tokenizer(model.family.asked.format(text))["input_ids"]
    if model.family.engine == "madlad400":
        # transformers 5 reads unknown characters as </s>; the model was trained with SentencePiece itself.
        exact = [*SentencePieceProcessor(str(model.hub / "spiece.model")).encode(model.family.asked.format(text)), 2]
        assert ids == exact or 0 in exact
        return exact
    return ids


def generate(model, ids, **options):
    """Generate with transformers for one text; return the new token ids and their mean log-probability."""
    written = model.generate(
        input_ids=torch.tensor([ids]), do_sample=False, num_beams=1, max_new_tokens=2 * len(ids) + 32,
        output_scores=True, return_dict_in_generate=True, **options,
    )  # fmt: skip
    tokens = written.sequences[0, -len(written.scores) :].tolist()
    scores = [float(step[0].log_softmax(-1)[token]) for step, token in zip(written.scores, tokens, strict=True)]
    if "forced_bos_token_id" in options:
        scores = scores[1:]
    return tokens, sum(scores) / len(scores)


def same(output, text, score):
    """Return whether an output has this text and score; if stopped in a loop, whether the text starts with it."""
    if not output.complete:
        return text.startswith(output.text[:-1])
    return output.text == text and output.score == pytest.approx(score, abs=1e-3)


def test_the_encoder_reads_the_tokens_of_the_models_own_tokenizer(converted, read_tokens):
    converted.engine().translate_all(SEGMENTS)
    vocabulary = json.loads((converted.fetched / "shared_vocabulary.json").read_text(encoding="utf-8"))
    numbers = {token: number for number, token in enumerate(vocabulary)}
    read = [[numbers.get(token, numbers["<unk>"]) for token in tokens] for tokens in read_tokens]
    assert sorted(read) == sorted(own_tokens(converted, text) for text in SEGMENTS)


def test_no_text_becomes_a_control_token(converted, read_tokens):
    converted.engine().translate_all(["I like </s> <pad> <unk> __nl__ nld_Latn nl_XX >>nld<< <2nl> and <mask>."])
    converted.engine().translate_all(["I"])
    text, plain = read_tokens
    control = {"</s>", "<s>", "<pad>", "<unk>", "<mask>", converted.family.other}
    assert [token for token in text if token in control] == [token for token in plain if token in control] == ["</s>"]


def test_converted_models_give_the_same_output_as_transformers(converted):
    outputs = converted.engine().translate_all(SEGMENTS)
    tokenizer = converted.tokenizer
    model = AutoModelForSeq2SeqLM.from_pretrained(converted.hub)
    options = {"suppress_tokens": [tokenizer.unk_token_id], "min_new_tokens": 1}
    if converted.family.source:
        options["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids(converted.family.target)
    for segment, output in zip(SEGMENTS, outputs, strict=True):
        tokens, score = generate(model, own_tokens(converted, segment), **options)
        text = tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert same(output, text, score), (segment, text, score, output)
    assert sum(output.complete for output in outputs) > len(outputs) / 2
    assert len({output.text for output in outputs}) > len(outputs) / 3
    knows(outputs, PORTUGUESE)


def test_another_target_code_translates_into_that_language(converted):
    if converted.family.other:
        knows(converted.engine(target_code=converted.family.other).translate_all(SEGMENTS), DUTCH)


def check_reading(model):
    """Assert that a loaded model translates another source language like a model that is loaded for it."""
    engine, code = model.engine(), model.family.other or "Dutch"
    before = engine.translate_all(SEGMENTS)
    assert engine.reading(code).translate_all(SEGMENTS) == model.engine(source_code=code).translate_all(SEGMENTS)
    assert engine.translate_all(SEGMENTS) == before


def test_a_loaded_model_reads_another_source_language(converted):
    if converted.family.engine == "opus-mt":
        assert converted.engine().reading("nl") is None
        return
    check_reading(converted)
    assert not converted.family.source or converted.engine().reading("no such language") is None


def test_a_loaded_generating_model_reads_another_source_language(generated):
    check_reading(generated)


def test_an_engine_recognises_characters_outside_the_vocabulary(converted, read_tokens):
    engine = converted.engine()
    assert engine.reads("The house is red.") and not engine.reads("The house ჯ")
    texts = ['"Red", he said - it\'s red...', "“Red”, he said – it’s red…"]
    engine.translate_all(texts)
    assert read_tokens[0] == read_tokens[1]


def test_pieces_missing_in_the_target_vocabulary_are_decoded_as_text(marian):
    target = SentencePieceProcessor(str(marian.fetched / "target.spm"))
    first = SentencePieceProcessor(str(marian.fetched / "source.spm")).encode(tiny.NAME, out_type=str)[0]
    assert first.startswith("▁") and target.piece_to_id(first) == target.unk_id()
    assert marian.engine().translate_all([tiny.NAME])[0].text == tiny.NAME + tiny.EMOJI


def knows(outputs, translations):
    """Assert that a model has learned most of its phrases: otherwise a comparison would be meaningless."""
    right = sum(output.text == text for output, text in zip(outputs, translations, strict=False))
    assert right > len(translations) / 2, outputs[: len(translations)]


def many():
    """Return enough texts for several batches of 64 tokens and several windows of batches."""
    return [*SEGMENTS, *(f"{text} {end}" for end in ("Yes.", "Good night", "A 1 B 2") for text in SEGMENTS), *SEGMENTS]


@pytest.mark.parametrize("careful", [False, True])
def test_the_batch_size_does_not_change_the_output(converted, careful):
    segments = many()
    small = converted.engine(batch_tokens=64, workers=2).translate_all(segments, careful)
    large = converted.engine(batch_tokens=8192).translate_all(segments, careful)
    alike = [same(one, other.text, other.score) for one, other in zip(small, large, strict=True)]
    # Which of several beams is the best may depend on the maximum length.
    assert sum(alike) >= (0.9 if careful else 1) * len(segments)
    count = len(SEGMENTS)
    assert [output.text for output in large[:count]] == [output.text for output in large[-count:]]


def biased(marian, folder, token, bias):
    """Return an engine whose model has a bias for or against a token."""
    hub, fetched = folder / "hub", folder / "fetched"
    shutil.copytree(marian.hub, hub)
    fetched.mkdir()
    weights = load_file(hub / "model.safetensors")
    weights["final_logits_bias"][0, marian.tokenizer.convert_tokens_to_ids(token)] = bias
    save_file(weights, hub / "model.safetensors", {"format": "pt"})
    fetch_model("opus-mt", parse(str(hub)), fetched)
    return engines.find("opus-mt")(fetched, EngineSettings(device="cpu", compute_type="float32"))


def test_a_loop_is_cut_independently_of_the_batch(marian, tmp_path):
    engine = biased(marian, tmp_path, "</s>", -1e4)
    short, long = engine.translate_all([ENGLISH[0], SEGMENTS[-1]])
    assert not short.complete and not long.complete and len(long.text) > len(short.text) > len(ENGLISH[0])
    assert engine.translate_all(ENGLISH[:1])[0].text == short.text


def test_the_unknown_token_is_never_generated(marian, tmp_path):
    assert biased(marian, tmp_path, "<unk>", 1e4).translate_all(SEGMENTS) == marian.engine().translate_all(SEGMENTS)


@pytest.fixture(scope="module")
def written_alone(generated):
    """Return the token ids and the score by transformers for each segment on its own."""
    tokenizer, family = generated.tokenizer, generated.family
    if not family.prompt:
        model = SeamlessM4Tv2ForTextToText.from_pretrained(generated.hub)
        return [generate(model, tokenizer(text)["input_ids"], tgt_lang=family.target) for text in SEGMENTS]
    model = AutoModelForCausalLM.from_pretrained(generated.hub)
    written = []
    for text in SEGMENTS:
        question = PROMPT.format(source=family.source, target=family.target, text=text)
        messages = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        written.append(generate(model, tokenizer(prompt)["input_ids"]))
    return written


@pytest.mark.parametrize("batch_tokens", [8192, 300])
def test_generating_engines_give_the_same_output_as_transformers(generated, written_alone, batch_tokens):
    outputs = generated.engine(batch_tokens=batch_tokens).translate_all(SEGMENTS)
    for segment, output, (tokens, score) in zip(SEGMENTS, outputs, written_alone, strict=True):
        text = generated.tokenizer.decode(tokens, skip_special_tokens=True).strip()
        assert same(output, text, score), (segment, text, score, output)
    assert sum(output.complete for output in outputs) > len(outputs) / 2
    knows(outputs, PORTUGUESE)


def test_no_text_becomes_a_control_token_in_generating_engines(generated):
    engine = generated.engine()
    control = set(engine.tokenizer.all_special_ids) - {engine.tokenizer.unk_token_id}
    text, plain = (
        [number for number in engine.encode(f"I like {what}.") if number in control]
        for what in ("</s> <s> <pad> __por__ <|im_end|> <|im_start|>", "it")
    )
    assert text == plain != []


def test_careful_generation_may_repeat_the_source(generated):
    engine = generated.engine()
    outputs = engine.translate_all([*ENGLISH, tiny.NAME], careful=True)
    knows(outputs, PORTUGUESE)
    if generated.family.prompt:
        assert len(engine.tokenizer(tiny.NAME)["input_ids"]) > 4 and outputs[-1].text == tiny.NAME


def test_several_beams_have_no_score(generated):
    outputs = generated.engine(beam_size=2).translate_all(SEGMENTS[:3])
    assert [output.score for output in outputs] == [None] * 3 and all(output.text for output in outputs)


def test_no_texts_give_no_outputs(marian, generated):
    for model in (marian, generated):
        assert model.engine().translate_all([]) == model.engine().translate_all([], careful=True) == []


def failing(message, room=0):
    """Return a subclass of CTranslate2's translator that fails for batches of more than `room` tokens."""

    def result():
        raise RuntimeError(message)

    class Failing(ctranslate2.Translator):
        def translate_batch(self, source, *arguments, max_batch_size, **options):
            if max_batch_size > room:
                return [SimpleNamespace(result=result) for _ in source]
            return super().translate_batch(source, *arguments, max_batch_size=max_batch_size, **options)

    return Failing


def halvings(capsys):
    return re.findall(r"out of memory; going on with batches of ([\d,]+) tokens", capsys.readouterr().err)


def test_out_of_memory_halves_the_batch_size(marian, monkeypatch, capsys):
    texts = many()
    expected = marian.engine().translate_all(texts)
    monkeypatch.setattr(ctranslate2, "Translator", failing("CUDA failed with error out of memory", room=100))
    engine = marian.engine(batch_tokens=300)
    assert [output.text for output in engine.translate_all(texts)] == [output.text for output in expected]
    assert halvings(capsys) == ["150", "75"]
    engine.translate_all(texts)
    assert halvings(capsys) == []


@pytest.mark.parametrize(
    ("message", "tried"),
    [
        ("CUDA failed with error out of memory", ["150", "75", "37"]),
        ("cuBLAS failed with status CUBLAS_STATUS_ALLOC_FAILED", ["150", "75", "37"]),
        ("cuBLAS failed with status CUBLAS_STATUS_NOT_SUPPORTED", []),
    ],
)
def test_an_error_that_smaller_batches_do_not_cure_is_raised(marian, monkeypatch, capsys, message, tried):
    monkeypatch.setattr(ctranslate2, "Translator", failing(message))
    with pytest.raises(RuntimeError, match=message):
        marian.engine(batch_tokens=300).translate_all(SEGMENTS)
    assert halvings(capsys) == tried


def test_out_of_memory_halves_the_batch_size_of_generation(generated, monkeypatch, capsys):
    engine = generated.engine(batch_tokens=1600)
    expected = [output.text for output in engine.translate_all(SEGMENTS)]
    real, failed, room = engine.model.generate, [], 400

    def tight(input_ids, **options):
        if input_ids.numel() > room:
            failed.append(input_ids.numel())
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return real(input_ids=input_ids, **options)

    monkeypatch.setattr(engine.model, "generate", tight)
    assert [output.text for output in engine.translate_all(SEGMENTS)] == expected
    assert halvings(capsys) == [f"{size // 2:,}" for size in failed] != []
    room = 0
    with pytest.raises(RuntimeError, match="out of memory"):
        engine.translate_all(SEGMENTS)


def test_a_translation_job_starts_fast_and_needs_no_torch(marian, tmp_path):
    rows = [
        {"message_id": str(i), "text": text, "role": "prompter", "lang": "en", "message_tree_id": "t", "split": "train",
         "source_lang": "en"} for i, text in enumerate(SEGMENTS)
    ]  # fmt: skip
    columns = {field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in MESSAGES}
    write(pa.table(columns, schema=MESSAGES), tmp_path / "shard.parquet")
    program = """
import json, sys, time
sys.path.insert(0, "scripts")
import ctranslate2, translate
started, first = float(sys.argv.pop()), []
class Timed(ctranslate2.Translator):
    def translate_batch(self, *arguments, **options):
        first.append(time.time() - started)
        return super().translate_batch(*arguments, **options)
ctranslate2.Translator = Timed
translate.main()
print(json.dumps({"seconds": first[0], "heavy": sorted({"torch", "transformers"} & set(sys.modules))}))
"""
    output = tmp_path / "translated.parquet"
    done = subprocess.run(
        [sys.executable, "-c", program, "--shard", tmp_path / "shard.parquet", "--source", "en", "--target", "pt",
         "--engine", "opus-mt", "--model", marian.fetched, "--compute-type", "float32", "--output", output, str(time.time())],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["heavy"] == [] and found["seconds"] < 3, found
    texts = read(output, TRANSLATED)["text"].to_pylist()
    assert len(texts) == len(SEGMENTS)
    knows([Output(text) for text in texts], PORTUGUESE)


@pytest.mark.skipif(not (SHARED / "models").is_dir(), reason="the trained model is not here")
def test_a_trained_model_has_the_quality_it_has_in_transformers(tmp_path):
    from sacrebleu import corpus_chrf

    hub = SHARED / "models/opus-mt-en-pt-mini"  # a model of 7.6M parameters, in float16
    english, portuguese = (
        (SHARED / f"flores/devtest300.{lang}").read_text(encoding="utf-8").splitlines()[:20] for lang in ("en", "pt")
    )
    tokenizer = AutoTokenizer.from_pretrained(hub)
    model = AutoModelForSeq2SeqLM.from_pretrained(hub, dtype=torch.float32)
    batch = tokenizer(english, return_tensors="pt", padding=True)
    known = {"suppress_tokens": [tokenizer.unk_token_id]}
    written = model.generate(**batch, **known, do_sample=False, num_beams=1, max_new_tokens=120)
    expected = tokenizer.batch_decode(written, skip_special_tokens=True)
    fetch_model("opus-mt", parse(str(hub)), tmp_path)
    engine = engines.find("opus-mt")(tmp_path, EngineSettings(device="cpu", compute_type="float32"))
    texts = [output.text for output in engine.translate_all(english)]
    # The model loops in some of the texts, and the two implementations stop it differently.
    assert sum(text == other for text, other in zip(texts, expected, strict=True)) >= 0.8 * len(texts)
    scores = [corpus_chrf(some, [portuguese]).score for some in (texts, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=0.5)


def test_a_segment_with_a_control_token_is_not_translated_and_does_not_affect_others(generated):
    engine = generated.engine()
    (text, *_), *_ = tiny.PHRASES
    (alone,) = engine.translate_all([text])
    engine.tokenizer.add_special_tokens({"additional_special_tokens": ["@"]}, replace_extra_special_tokens=False)
    assert [output.text for output in engine.translate_all(["me@here", text])] == ["", alone.text]
