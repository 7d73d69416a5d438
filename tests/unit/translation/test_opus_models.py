"""Tests of the tables of translation models and language codes, and of the program that lists the OPUS-MT models."""

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from paths import SHARED

from mothertongue.common.errors import UserError
from mothertongue.common.languages import read_languages
from mothertongue.common.tsv import read_table
from mothertongue.translation import opus_models
from mothertongue.translation.opus_models import NOT_USED, OpusModel, choose, parse_card

TABLE = Path("config/opus_mt.tsv")
CODES = Path("config/language_codes.tsv")
FIREFOX = Path("config/firefox_models.tsv")
COMPILED = SHARED / "opus"
compiled = pytest.mark.skipif(not COMPILED.is_dir(), reason="the compiled tables are not here")

# text_decoder_lang_to_code_id of facebook/seamless-m4t-v2-large: the languages of text, as source and as target.
SEAMLESS = """
    afr amh arb ary arz asm azj bel ben bos bul cat ceb ces ckb cmn cmn_Hant cym dan deu ell eng est eus fin fra fuv gaz
    gle glg guj heb hin hrv hun hye ibo ind isl ita jav jpn kan kat kaz khk khm kir kor lao lit lug luo lvs mai mal mar mkd
    mlt mni mya nld nno nob npi nya ory pan pbt pes pol por ron rus sat slk slv sna snd som spa srp swe swh tam tel tgk tgl
    tha tur ukr urd uzn vie yor yue zlm zul
"""


def opus_pairs():
    return {(row["source"], row["target"]): (row["model"], row["target_token"]) for row in read_table(TABLE)}


def test_every_row_of_the_opus_table_is_valid():
    rows = read_table(TABLE)
    languages = read_languages(Path("config/languages.tsv"))
    pairs = [(row["source"], row["target"]) for row in rows]
    assert pairs == sorted(set(pairs)) and len(pairs) > 1000
    for row in rows:
        assert {row["source"], row["target"]} <= set(languages) and row["source"] != row["target"]
        assert re.fullmatch(r"Helsinki-NLP/opus-(mt|tatoeba)-[A-Za-z_-]+-[A-Za-z_]+", row["model"]), row
        assert re.fullmatch(r"(>>[a-z]{2,3}(_[A-Za-z]{2,4})?<<)?", row["target_token"]), row
        assert row["licence"] in {"apache-2.0", "cc-by-4.0"}, row


def test_a_model_with_several_targets_has_a_token_for_each():
    tokens = defaultdict(set)
    for (_, target), (model, token) in opus_pairs().items():
        tokens[model].add((target, token))
    for model, targets in tokens.items():
        assert len({token for _, token in targets}) == len({target for target, _ in targets}), model
        assert len(targets) == 1 or all(token for _, token in targets), model


def test_every_source_language_has_a_model_into_english_and_every_target_from_it():
    pairs = opus_pairs()
    for code in read_languages(Path("config/languages.tsv")):
        assert code == "en" or ("en", code) in pairs, code
    for code in yaml.safe_load(Path("config/config.yaml").read_text())["source"]["languages"]:
        assert code == "en" or (code, "en") in pairs, code


@pytest.mark.parametrize(
    ("pair", "model", "token"),
    [
        ("en-nl", "opus-mt-en-nl", ""),
        ("en-pt", "opus-mt-tc-big-en-pt", ">>por<<"),
        ("en-nb", "opus-mt-tc-big-en-gmq", ">>nob<<"),
        ("pl-nb", "opus-mt-pl-no", ""),
        ("en-zh", "opus-mt-en-zh", ">>cmn_Hans<<"),
        ("en-zh-Hant", "opus-mt-en-zh", ">>cmn_Hant<<"),
        ("de-zh", "opus-mt-de-ZH", ">>zh_cn<<"),
        ("en-vi", "opus-mt-en-vi", ">>vie<<"),
        ("en-fi", "opus-mt-tc-big-en-fi", ">>fin<<"),
        ("en-fa", "opus-mt-tc-bible-big-deu_eng_fra_por_spa-iir", ">>pes<<"),
        ("en-ja", "opus-tatoeba-en-ja", ""),
        ("ja-en", "opus-mt-ja-en", ""),
        ("ko-en", "opus-mt-ko-en", ""),
    ],
)
def test_difficult_pairs_have_the_right_model_and_token(pair, model, token):
    assert opus_pairs()[tuple(pair.split("-", 1))] == (f"Helsinki-NLP/{model}", token)


def test_excluded_models_are_not_in_the_table():
    models = {model for model, _ in opus_pairs().values()}
    assert not models & NOT_USED
    # Japanese trained on the Bible only, and Brazilian Sign Language.
    assert not [model for model in models if {"jap", "bzs"} & set(model.split("-"))]


def test_language_codes_are_those_of_the_models_tokenizers():
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES as m2m100
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES as mbart50
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as nllb

    known = {"nllb": nllb, "m2m100": m2m100["m2m100"], "mbart50": mbart50, "seamless-m4t": SEAMLESS.split()}
    rows = read_table(CODES)
    assert list(rows[0]) == ["code", "nllb", "m2m100", "mbart50", "madlad400", "seamless-m4t"]
    for engine, codes in known.items():
        named = [row[engine] for row in rows if row[engine]]
        assert set(named) <= set(codes), engine
        assert len(named) == len(set(named)), engine
    assert all(re.fullmatch(r"<2[a-z]{2,3}(_Hant)?>", row["madlad400"]) for row in rows)


def test_language_codes_cover_all_languages():
    rows = read_table(CODES)
    sources = yaml.safe_load(Path("config/config.yaml").read_text())["source"]["languages"]
    assert [row["code"] for row in rows] == list(read_languages(Path("config/languages.tsv")))
    assert set(sources) <= {row["code"] for row in rows}
    by_code = {row["code"]: row for row in rows}
    # A target must have its own script and standard; M2M100 has only one Chinese and one Norwegian.
    assert by_code["nb"]["m2m100"] == "no" and by_code["nn"]["m2m100"] == by_code["zh-Hant"]["m2m100"] == ""
    assert by_code["zh"]["nllb"] == "zho_Hans" and by_code["zh-Hant"]["nllb"] == "zho_Hant"


def test_firefox_models_are_released_pairs_with_english():
    rows = read_table(FIREFOX)
    pairs = [(row["source"], row["target"]) for row in rows]
    known = set(read_languages(Path("config/languages.tsv")))
    mozilla = {"zh": "zh-Hans"}
    assert pairs == sorted(set(pairs)) and len(pairs) > 60
    for row, pair in zip(rows, pairs, strict=True):
        assert "en" in pair and set(pair) <= known
        assert row["model"] == "/".join(mozilla.get(code, code) for code in pair)
        assert row["type"] in {"base", "base-memory", "tiny"}
    # Pairs that are in nightly builds only, still in training, or available in one direction only.
    assert not {("fa", "en"), ("nb", "en"), ("en", "eu"), ("en", "vi")} & set(pairs)
    assert {("en", "nl"), ("nl", "en"), ("en", "zh"), ("en", "zh-Hant"), ("vi", "en")} <= set(pairs)


@compiled
def test_firefox_types_are_the_best_that_exist():
    order, types = ["base", "base-memory", "tiny"], defaultdict(set)
    for row in read_table(COMPILED / "firefox_models.tsv"):
        types[row["source"].replace("_hant", "-Hant"), row["target"].replace("_hant", "-Hant")].add(row["type"])
    for row in read_table(FIREFOX):
        assert row["type"] == min(types[row["source"], row["target"]], key=order.index)


@compiled
def test_the_table_is_generated_from_the_compiled_tables(tmp_path):
    done = program(
        "--candidates", COMPILED / "opus_mt_routes.tsv", "--models", COMPILED / "opus_mt_models.tsv",
        "--output", tmp_path / "opus_mt.tsv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "opus_mt.tsv").read_bytes() == TABLE.read_bytes()


@compiled
def test_every_model_id_exists_on_the_hub_as_far_as_known():
    doubtful = {row["repo_id"] for row in read_table(COMPILED / "opus_mt_doubtful.tsv") if row["verdict"] != "EXISTS"}
    listed = {row["repo_id"] for row in read_table(COMPILED / "opus_mt_models.tsv")}
    models = {row["model"] for row in read_table(TABLE)}
    assert models <= listed and not models & doubtful


def test_a_direct_model_without_english_must_have_a_good_rank():
    def candidate(source, target, rank, licence="apache-2.0", model="x"):
        return OpusModel(source, target, model, "", licence, rank)

    chosen = choose(
        [
            candidate("nl", "de", 4.5),
            candidate("nl", "en", 8.0),
            candidate("fr", "de", 2.0, model="second"),
            candidate("fr", "de", 1.0, model="first"),
            candidate("es", "de", 1.0, licence="", model="unlicensed"),
            candidate("es", "de", 3.0, model="licensed"),
            candidate("ja", "en", 1.0, model="Helsinki-NLP/opus-mt-jap-en"),
        ]
    )
    assert [(c.source, c.target, c.model) for c in chosen] == [
        ("es", "de", "licensed"),
        ("fr", "de", "first"),
        ("nl", "en", "x"),
    ]


def test_model_cards_of_every_generation_are_parsed():
    first = (
        "### opus-mt-es-NORWAY\n\n* source languages: es\n* target languages: nb_NO,nb,nn\n* in the form of `>>id<<`"
    )
    assert parse_card(first) == card("es", "nb_NO nb nn", needs_token=True)
    pair = "* source languages: en\n* target languages: nl\n* dataset: opus"
    assert parse_card(pair) == card("en", "nl")
    tatoeba = "* source group: English\n* source language(s): eng\n* target language(s): cmn_Hans cmn_Hant\n`>>id<<`"
    assert parse_card(tatoeba) == card("eng", "cmn_Hans cmn_Hant", needs_token=True)
    big = "* source language(s): eng\n* target language(s): pob por\n* valid target language labels: >>pob<< >>por<<"
    assert parse_card(big) == card("eng", "pob por", "pob por", needs_token=True)
    later = (
        "- **Language(s):**  \n  - Source Language(s): heb\n  - Target Language(s): dan nob\n"
        "  - Language Pair(s): heb-dan\n  - Valid Target Language Labels: >>dan<< >>isl<< >>nob<<\n"
    )
    assert parse_card(later) == card("heb", "dan nob", "dan isl nob", needs_token=True)
    unlabelled = '* source language(s): eng\n* target language(s): ron\n* raw target language(s):\n\n">>ron<< A cat."'
    assert parse_card(unlabelled) == card("eng", "ron", "ron", needs_token=True)


def card(sources, targets, labels="", needs_token=False):
    return opus_models.Card(tuple(sources.split()), tuple(targets.split()), frozenset(labels.split()), needs_token)


def lists(sources, targets, more=""):
    return f"* source language(s): {sources}\n* target language(s): {targets}\n{more}"


REQUIRED = "* a sentence initial language token is required in the form of `>>id<<` (id = valid target language ID)"
CARDS = {
    "opus-mt-en-nl": "* source languages: en\n* target languages: nl\n",
    "opus-mt-nl-en": "* source languages: nl\n* target languages: en\n",
    "opus-mt-no-de": "* source languages: no\n* target languages: de\n",
    "opus-mt-en-zh": lists("eng", "cmn cmn_Hans cmn_Hant yue", REQUIRED),
    "opus-mt-zh-en": lists("cmn cmn_Hans cmn_Hant", "eng"),
    "opus-mt-de-ZH": f"* source languages: de\n* target languages: cmn,zh_cn,zh_tw,zh\n{REQUIRED}",
    "opus-mt-tc-big-en-pt": lists("eng", "pob por", "* valid target language labels: >>pob<< >>por<<"),
    "opus-mt-en-ROMANCE": f"* source languages: en\n* target languages: fr,pt,pt_BR,ca\n{REQUIRED}",
    "opus-mt-tc-big-en-gmq": lists("eng", "dan nob nor swe", "* labels: >>dan<< >>isl<< >>nob<< >>swe<<"),
    "opus-mt-tc-big-en-ro": lists("eng", "ron", '">>ron<< A cat."'),
    "opus-mt-en-bzs": "* source languages: en\n* target languages: bzs\n",
    "opus-mt-en-jap": "* source languages: en\n* target languages: jap\n",
    "opus-tatoeba-en-ja": lists("eng", "jpn"),
    "opus-mt-mul-en": lists("nld pes xho", "eng"),
    "opus-mt-ine-ine": lists("nld deu", "nld deu", REQUIRED),
    "opus-mt-tc-big-en-fr": lists("eng", "fra"),
    "opus-mt-en-fr": "* source languages: en\n* target languages: fr\n",
}
UNLICENSED = "opus-mt-tc-big-en-fr"
LISTED = [*CARDS, "opus-mt-he-fr", "some-other-model"]
FOUND = """
de zh opus-mt-de-ZH >>zh_cn<<
de zh-Hant opus-mt-de-ZH >>zh_tw<<
en ca opus-mt-en-ROMANCE >>ca<<
en da opus-mt-tc-big-en-gmq >>dan<<
en fr opus-mt-en-fr -
en ja opus-tatoeba-en-ja -
en nb opus-mt-tc-big-en-gmq >>nob<<
en nl opus-mt-en-nl -
en pt opus-mt-tc-big-en-pt >>por<<
en ro opus-mt-tc-big-en-ro >>ron<<
en sv opus-mt-tc-big-en-gmq >>swe<<
en zh opus-mt-en-zh >>cmn_Hans<<
en zh-Hant opus-mt-en-zh >>cmn_Hant<<
fa en opus-mt-mul-en -
nb de opus-mt-no-de -
nl en opus-mt-nl-en -
xh en opus-mt-mul-en -
zh en opus-mt-zh-en -
zh-Hant en opus-mt-zh-en -
"""


class Hub(BaseHTTPRequestHandler):
    """Server of the hub's paginated list of models, and of the models' cards."""

    refused = None
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        name = re.fullmatch(r"/Helsinki-NLP/([^/]+)/resolve/main/README.md", url.path)
        if self.refused and re.search(self.refused, url.path):
            self.answer(403, "no")
        elif url.path == "/api/models":
            self.answer_page(parse_qs(url.query))
        elif name and name[1] in CARDS:
            self.answer(200, CARDS[name[1]])
        else:
            self.answer(404, "Entry not found")

    def answer_page(self, query):
        assert query["author"] == ["Helsinki-NLP"] and query["expand"] == ["tags"]
        at = int(query.get("cursor", ["0"])[0])
        page = [
            {"id": f"Helsinki-NLP/{name}", "tags": ["marian"] + ["license:apache-2.0"] * (name != UNLICENSED)}
            for name in LISTED[at : at + 7]
        ]
        host = f"http://{self.headers['Host']}"
        following = f'<{host}/api/models?author=Helsinki-NLP&expand=tags&cursor={at + 7}>; rel="next"'
        self.answer(200, json.dumps(page), {"Link": following} if at + 7 < len(LISTED) else {})

    def answer(self, status, text, headers=None):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path):
    """Yield a function that starts a hub, which refuses some paths, and returns the environment of its clients."""
    servers = []

    def start(refused=None):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Refusing", (Hub,), {"refused": refused}))
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        return {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def program(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "scripts/list_opus_models.py", "--languages", CODES, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_the_table_is_made_from_the_hubs_names_licences_and_cards(hub, tmp_path):
    table = tmp_path / "opus_mt.tsv"
    table.write_text(
        "source\ttarget\tmodel\ttarget_token\tlicence\n"
        "de\tzh\tHelsinki-NLP/opus-mt-de-ZH\t>>cmn<<\tapache-2.0\n"
        "en\tnl\tHelsinki-NLP/opus-mt-en-nl\t\tapache-2.0\n"
        "en\tth\tHelsinki-NLP/opus-mt-en-th\t\tapache-2.0\n"
    )
    done = program("--output", table, **hub())
    assert done.returncode == 0, done.stderr
    rows = [(row["source"], row["target"], row["model"], row["target_token"] or "-") for row in read_table(table)]
    found = (line.split() for line in FOUND.strip().splitlines())
    assert rows == [(source, target, f"Helsinki-NLP/{model}", token) for source, target, model, token in found]
    assert {row["licence"] for row in read_table(table)} == {"apache-2.0"}
    assert done.stderr.splitlines()[-4:] == [
        "list_opus_models: left out, since they have no card: Helsinki-NLP/opus-mt-he-fr",
        f"list_opus_models: 19 pairs -> {table}",
        "list_opus_models: 17 added, 1 removed, 1 changed",
        "list_opus_models: in the table before, and not listed any more: Helsinki-NLP/opus-mt-en-th",
    ]


@pytest.mark.parametrize("refused", ["/api/models", "opus-mt-en-zh"])
def test_an_error_of_the_hub_leaves_the_table_unchanged(hub, tmp_path, refused):
    table = tmp_path / "opus_mt.tsv"
    table.write_text("as it was")
    environment = hub(refused)
    done = program("--output", table, **environment)
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"list_opus_models.py: error: cannot read the models of Helsinki-NLP from {environment['HF_ENDPOINT']}: "
    )
    assert "403" in done.stderr and done.stderr.endswith("--candidates and --models work without a network\n")
    assert done.stderr.count("\n") == 1
    assert table.read_text() == "as it was" and list(tmp_path.glob("*.partial")) == []


def test_a_missing_network_is_reported_in_one_line(tmp_path):
    done = program("--output", tmp_path / "opus_mt.tsv", HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert re.fullmatch(
        r"list_opus_models.py: error: cannot read the models of Helsinki-NLP from https://\S+: .*offline.*; "
        r"--candidates and --models work without a network\n",
        done.stderr,
    )


def test_invalid_tables_are_refused(tmp_path):
    models, routes = tmp_path / "models.tsv", tmp_path / "routes.tsv"
    header = "repo_id\tlicense\tsource_langs\ttarget_langs\tneeds_target_token\n"
    models.write_text(f"{header}Helsinki-NLP/opus-mt-en-nl\tapache-2.0\ten\tnl\t\n")
    tags = opus_models.language_tags(CODES)

    def refusal(path):
        with pytest.raises(UserError) as caught:
            opus_models.read_candidates(routes, models, tags)
        return str(caught.value).removeprefix(f"{path}: ")

    assert refusal(routes) == "no such file"
    routes.write_text("source\ttarget\trank\trepo_id\nen\tnl\t1\tHelsinki-NLP/opus-mt-en-nl\n")
    assert refusal(routes) == "column 'target_token' is missing, or there are no rows"
    routes.write_text("source\ttarget\trank\trepo_id\ttarget_token\nen\tnl\tgood\tHelsinki-NLP/opus-mt-en-nl\t\n")
    assert refusal(routes) == "column 'rank': expected a number, found 'good'"
    models.write_text(f"{header}facebook/nllb\tmit\ten\tnl\t\n")
    assert refusal(models) == "column 'repo_id': expected the id of an OPUS-MT model, found 'facebook/nllb'"
    done = program("--candidates", routes, "--output", tmp_path / "out.tsv")
    assert done.returncode == 2 and "--candidates and --models go together" in done.stderr
