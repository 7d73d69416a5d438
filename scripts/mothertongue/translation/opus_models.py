"""Select the best OPUS-MT model for each language pair, with its target token.

Tiedemann and Thottingal, "OPUS-MT - Building open translation services for the World", 2020. About 1,500 models of
Helsinki-NLP on the hub, listed in compiled tables or by the hub itself: its listing (names, licences) and the cards
(languages, target tokens).

The heuristic: a model of the pair before one of a language group, newer and bigger families first (RANKS); a model
with a licence in LICENCES, which allow every use, before one without. Two languages other than English get a direct
model only where it ranks DIRECT or better: below that, two steps through English translate better.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path

from mothertongue.common.errors import UserError
from mothertongue.common.languages import ENGLISH
from mothertongue.common.progress import Progress, log
from mothertongue.common.tsv import read_table
from mothertongue.models import hub

OWNER = "Helsinki-NLP"
COLUMNS = ("source", "target", "model", "target_token", "licence")
LICENCES = frozenset({"apache-2.0", "cc-by-4.0", "mit"})

# By family: the rank of a model of the pair and of one of a language group; lower is better.
RANKS = {
    "tc-big": (1.0, 3.0),
    "mt": (2.0, 4.0),
    "tatoeba": (2.0, 4.0),
    "tc-base": (2.0, 4.0),
    "synthetic": (2.5, 4.0),
    "tc-bible-big": (3.5, 3.5),
}
DIRECT = 4.0
# Models of groups of a hundred languages and more translate each of them worse.
BROAD = frozenset({"ine", "mul"})
BROAD_RANK = 4.0

# In this order: trained on the Bible alone; an empty repository; a vocabulary that does not match (OPUS-MT-train issue
# 81, Opus-MT issue 106); and a BLEU of 10 to 18 on the card, where two steps through English are better.
NOT_USED = frozenset(
    f"{OWNER}/opus-mt-{name}"
    for name in (
        *("en-jap", "jap-en"),
        *("he-fr",),
        *("tc-big-en-ko", "tc-big-ko-en", "tc-big-zh-ja"),
        "itc-itc",  # Indonesian and Malay are no Romance languages
        *("eo-he", "eo-hu", "eo-nl", "he-eo", "ru-vi", "vi-eo", "vi-ru", "zh-uk"),
    )
)

# The models' codes for languages that differ from NLLB's codes or have several; the most specific first.
_TAGS = {
    "ar": ("ara", "arb", "ar"),
    "az": ("aze_Latn", "azj_Latn", "aze", "az"),
    "fa": ("pes", "fas", "fa"),
    "fy": ("fry", "fy"),
    "lv": ("lav", "lvs", "lv"),
    "mn": ("mon", "khk", "mn"),
    "ms": ("zsm_Latn", "zsm", "msa", "zlm_Latn", "ms"),
    "nb": ("nob", "nb", "nb_NO", "no_nb", "nor", "no"),
    "ne": ("npi", "nep", "ne"),
    "nn": ("nno", "nn", "nn_NO"),
    "ps": ("pus", "pbt", "ps"),
    "pt": ("por", "pt", "pt_PT"),
    "sq": ("sqi", "als", "sq"),
    "sw": ("swa", "swh", "sw"),
    "tl": ("tgl_Latn", "tgl", "fil", "tl"),
    "uz": ("uzb_Latn", "uzn_Latn", "uzb", "uz"),
    "zh": ("cmn_Hans", "zho_Hans", "zh_cn", "zh_CN", "zhs", "cmn", "zho", "zh"),
    "zh-Hant": ("cmn_Hant", "zho_Hant", "zh_tw", "zh_TW", "zht"),
}
Tags = Mapping[str, tuple[str, ...]]

_ADVICE = "--candidates and --models work without a network"
_NAME = re.compile(rf"{OWNER}/opus-(mt|tatoeba)-(?:(tc-big|tc-base|tc-bible-big|synthetic)-)?([A-Za-z_]+)-([A-Za-z_]+)")
_LANGUAGES = re.compile(r"^[ \t*-]*(source|target) languages?(?:\(s\))?\**:[ \t]*(\S.*)$", re.IGNORECASE | re.MULTILINE)
_LABEL = re.compile(r">>([A-Za-z_]+)<<")


@dataclass(frozen=True)
class OpusModel:
    """A model that translates `source` into `target`.

    The target token is empty where the model needs none, the licence where it is unknown; a lower rank is better.
    """

    source: str
    target: str
    model: str
    target_token: str
    licence: str
    rank: float


@dataclass(frozen=True)
class Card:
    """The languages on a model's card, by the model's own codes.

    `labels` are the target tokens (without their brackets); `needs_token` may be true where the card lists none.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    labels: frozenset[str]
    needs_token: bool


@dataclass(frozen=True)
class Changes:
    """The changes of a new table: numbers of pairs, and models of the old table that no longer exist."""

    added: int
    removed: int
    changed: int
    gone: list[str]


def language_tags(path: Path) -> Tags:
    """Return the codes that models use for each of our languages, from a table with the columns code and nllb.

    Raise UserError where the file or a column is missing.
    """
    return {row["code"]: _tags(row["code"], row["nllb"]) for row in _rows(path, "code", "nllb")}


def read_candidates(routes: Path, models: Path, tags: Tags) -> tuple[list[OpusModel], set[str]]:
    """Return the candidates of two compiled tables, and every model in `models`.

    `routes` has a row per candidate (source, target, rank, repo_id, target_token), `models` a row per model (repo_id,
    license, source_langs, target_langs, needs_target_token). Derive pairs that `routes` omits from the languages of the
    models, as from cards. Raise UserError where a file, a column or a number is missing.
    """
    licences, cards = {}, {}
    for row in _rows(models, "repo_id", "license", "source_langs", "target_langs", "needs_target_token"):
        if not _NAME.fullmatch(row["repo_id"]):
            raise UserError(
                f"{models}: column 'repo_id': expected the id of an OPUS-MT model, found '{row['repo_id']}'"
            )
        labels = frozenset(_LABEL.findall(row["needs_target_token"])) - {"id"}
        sources, targets = tuple(row["source_langs"].split()), tuple(row["target_langs"].split())
        licences[row["repo_id"]] = row["license"]
        cards[row["repo_id"]] = Card(sources, targets, labels, bool(row["needs_target_token"]))
    candidates = []
    for row in _rows(routes, "source", "target", "rank", "repo_id", "target_token"):
        source, target, model = row["source"], row["target"], row["repo_id"]
        if source in tags and target in tags and model in cards:
            label = _first(tags[target], cards[model].labels)
            token = _token(label) if label else row["target_token"]
            candidates.append(OpusModel(source, target, model, token, licences[model], _number(row["rank"], routes)))
    ranked = {(candidate.source, candidate.target) for candidate in candidates}
    others = card_candidates(licences, cards, tags)
    return candidates + [other for other in others if (other.source, other.target) not in ranked], set(licences)


def hub_models() -> dict[str, str]:
    """Return the licence of every OPUS-MT model on the hub by its id; empty where the hub has none.

    Raise UserError where the hub cannot be reached or lists no models.
    """
    from huggingface_hub import HfApi

    with _hub_errors():
        listing = {model.id: model.tags or [] for model in HfApi().list_models(author=OWNER, expand=["tags"])}
    models = {model: _licence(labels) for model, labels in listing.items() if _NAME.fullmatch(model)}
    if not models:
        raise UserError(f"the hub lists no OPUS-MT models of {OWNER}; {_ADVICE}")
    return models


def hub_cards(models: Collection[str]) -> dict[str, Card]:
    """Return the cards of models by id; log the models without one. Raise UserError where the hub cannot be reached."""
    progress = Progress("list_opus_models", len(models), "cards")
    cards = {}
    with _hub_errors(), ThreadPoolExecutor(8) as pool:
        for model, text in zip(models, pool.map(_read_card, models), strict=True):
            if text is not None:
                cards[model] = parse_card(text)
            progress.advance()
    progress.finish()
    if missing := sorted(set(models).difference(cards)):
        log(f"list_opus_models: left out, since they have no card: {', '.join(missing)}")
    return cards


def parse_card(text: str) -> Card:
    """Parse the languages of a card: lists of codes in the text, and target tokens anywhere (lists, examples)."""
    listed: dict[str, tuple[str, ...]] = {}
    for side, languages in _LANGUAGES.findall(text):
        listed.setdefault(side.lower(), tuple(re.split(r"[,\s]+", languages.strip())))
    labels = frozenset(_LABEL.findall(text))
    return Card(listed.get("source", ()), listed.get("target", ()), labels - {"id"}, bool(labels))


def card_candidates(licences: Mapping[str, str], cards: Mapping[str, Card], tags: Tags) -> Iterator[OpusModel]:
    """Yield every pair of our languages that the models' cards cover; among equal ranks, the best model first."""
    codes = {tag: code for code, names in tags.items() for tag in names}
    for model in sorted(cards, key=lambda model: _breadth(model, cards[model])):
        card = cards[model]
        if not (name := _NAME.fullmatch(model)):
            raise ValueError(f"{model}: not the id of an OPUS-MT model")
        kind, family, *sides = name.groups()
        own = tuple(codes.get(side) for side in sides)
        sources = _covered(tags, card.sources or sides[:1])
        targets = _covered(tags, card.targets or card.labels or sides[1:])
        if not card.needs_token and len(targets) > 1:
            # The model has no token to select another target language.
            targets = {code: tag for code, tag in targets.items() if code == own[1]}
        labels = _covered(tags, card.labels)
        for source in sources:
            for target, tag in targets.items():
                if source != target:
                    token = _token(labels.get(target, tag)) if card.needs_token else ""
                    rank = RANKS[family or kind][(source, target) != own] + BROAD_RANK * bool(BROAD.intersection(sides))
                    yield OpusModel(source, target, model, token, licences[model], rank)


def choose(candidates: Iterable[OpusModel]) -> list[OpusModel]:
    """Return the best candidate for every pair, sorted by pair; of equals, the first."""
    best: dict[tuple[str, str], OpusModel] = {}
    for candidate in sorted(candidates, key=lambda candidate: (candidate.licence not in LICENCES, candidate.rank)):
        pair = (candidate.source, candidate.target)
        if candidate.model not in NOT_USED and (ENGLISH in pair or candidate.rank <= DIRECT):
            best.setdefault(pair, candidate)
    return [best[pair] for pair in sorted(best)]


def write(chosen: Iterable[OpusModel], path: Path) -> None:
    """Write the table from which the workflow finds routes."""
    lines = [COLUMNS, *([getattr(candidate, column) for column in COLUMNS] for candidate in chosen)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def compare(path: Path, chosen: Iterable[OpusModel], listed: Collection[str]) -> Changes:
    """Return the changes of `chosen` to the table at `path`; `listed` are the models that exist."""
    rows = _rows(path, *COLUMNS) if path.exists() else []
    before = {(row["source"], row["target"]): tuple(row[column] for column in COLUMNS) for row in rows}
    after = {(c.source, c.target): tuple(getattr(c, column) for column in COLUMNS) for c in chosen}
    return Changes(
        added=len(after.keys() - before.keys()),
        removed=len(before.keys() - after.keys()),
        changed=sum(before[pair] != after[pair] for pair in before.keys() & after.keys()),
        gone=sorted({row["model"] for row in rows}.difference(listed)),
    )


@contextmanager
def _hub_errors() -> Iterator[None]:
    """Convert errors of the hub's client to a UserError of one line with advice."""
    from httpx2 import HTTPError
    from huggingface_hub.constants import ENDPOINT

    hub.check_token()
    try:
        yield
    except (HTTPError, OSError, JSONDecodeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read the models of {OWNER} from {ENDPOINT}: {reason}; {_ADVICE}") from None


def _read_card(model: str) -> str | None:
    """Return the text of a model's card; None where it has none."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

    response = http_backoff("GET", hf_hub_url(model, "README.md"), headers=build_hf_headers())
    if response.status_code == 404:
        return None
    hf_raise_for_status(response)
    return response.text


def _licence(labels: Iterable[str]) -> str:
    return next((label.removeprefix("license:") for label in labels if label.startswith("license:")), "")


def _breadth(model: str, card: Card) -> tuple[bool, int, int, str]:
    """Return the sort key of models of equal rank: smaller groups first; the oldest (names in capitals) last."""
    return any(side.isupper() for side in model.split("-")[-2:]), len(card.targets), len(card.sources), model


def _tags(code: str, nllb: str) -> tuple[str, ...]:
    return _TAGS.get(code) or tuple(filter(None, (nllb, nllb.split("_")[0], code)))


def _token(label: str) -> str:
    return f">>{label}<<"


def _covered(tags: Tags, listed: Collection[str]) -> dict[str, str]:
    """Return the most specific listed code of each of our languages that is listed."""
    return {code: tag for code, names in tags.items() if (tag := _first(names, listed))}


def _first(names: Iterable[str], listed: Collection[str]) -> str | None:
    return next((name for name in names if name in listed), None)


def _rows(path: Path, *columns: str) -> list[dict[str, str]]:
    """Return the rows of a table. Raise UserError where the file or a column is missing, or there are no rows."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    rows = read_table(path)
    if missing := [column for column in columns if not rows or rows[0].get(column) is None]:
        raise UserError(f"{path}: column '{missing[0]}' is missing, or there are no rows")
    return rows


def _number(text: str, path: Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{path}: column 'rank': expected a number, found '{text}'") from None
