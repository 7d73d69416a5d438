"""Target languages: their codes, names and system prompts (config/languages.tsv)."""

import csv
import difflib
from dataclasses import dataclass
from pathlib import Path

from mothertongue.common.errors import UserError

# The pivot language, for target languages without a direct translation model.
ENGLISH = "en"
# Languages without spaces between words: each character counts as a word, and sentences are joined without a space.
UNSPACED = frozenset({"zh", "zh-Hant", "ja", "th", "lo", "km", "my"})
# Letters (ranges, for a regular expression) that words of another script follow without a space. Hangul is included
# because of its particles.
UNSPACED_LETTERS = "\\u0e00-\\u109f\\u1780-\\u17ff\\u3040-\\ud7af\\uf900-\\ufaff"
# Pairs of one language in two scripts: a table converts its characters, and no model translates.
OTHER_SCRIPTS = frozenset({("zh", "zh-Hant"), ("zh-Hant", "zh")})
# Written from right to left.
RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ps", "ur"})

# Our language codes, each with its other codes: deprecated, of three letters (ISO 639), and of the main variety.
_OTHER_CODES = (
    "he iw heb, id in ind, yi ji, jv jw jav, ro mo ron rum, nb no nob nor, tl fil tgl, zh cmn zho chi, sr-Latn sh, "
    "ar arb ara, sw swh swa, ms zsm msa may, fa pes fas per, az azj aze, uz uzn uzb, mn khk mon, et ekk est, "
    "lv lvs lav, sq als sqi alb, ne npi nep, en eng, es spa, ru rus, de deu ger, pl pol, th tha, vi vie, sv swe, "
    "bn ben, da dan, it ita, sk slk slo, el ell gre, nl nld dut, hu hun, eu eus baq, eo epo, ja jpn, ca cat, "
    "cs ces cze, bg bul, fi fin, pt por, tr tur, uk ukr, gl glg, fr fra fre, ko kor, nn nno, hi hin, ur urd, "
    "hr hrv, sr srp, bs bos, sl slv, mk mkd mac, lt lit, is isl ice, ga gle, cy cym wel, mt mlt, be bel, af afr, "
    "fy fry, lb ltz, ta tam, te tel, mr mar, gu guj, ml mal, kn kan, pa pan, si sin, km khm, lo lao, my mya bur, "
    "ka kat geo, hy hye arm, kk kaz, am amh, ha hau, yo yor, zu zul, xh xho, so som, ps pus"
)
# Country codes that are mistaken for language codes.
_COUNTRY_CODES = (
    "ca ad, sq al, de at, en au gb nz us, bn bd, pt br, be by, zh cn, cs cz, da dk, et ee, ar eg, ka ge, el gr, "
    "zh-Hant hk tw, fa ir, ja jp, sw ke, km kh, ko kr, kk kz, es mx, ne np, tl ph, ur pk, sr rs, sv se, uk ua, "
    "vi vn, af za"
)
_CANONICAL, _OF_COUNTRIES = (
    {other: code for code, *others in map(str.split, table.split(",")) for other in others}
    for table in (_OTHER_CODES, _COUNTRY_CODES)
)
# The scripts of the table's languages; those not listed use the Latin script.
_LATIN = frozenset({"Latn", "Latf", "Latg"})
_SCRIPTS = {
    code: frozenset(scripts.split("+"))
    for scripts, codes in {
        "Arab+Aran": "ar fa ps ur",
        "Armn": "hy",
        "Beng": "bn",
        "Cyrl": "be bg kk mk mn ru sr uk",
        "Deva": "hi mr ne",
        "Ethi": "am",
        "Geor": "ka",
        "Grek": "el",
        "Gujr": "gu",
        "Guru": "pa",
        "Hans+Hani": "zh",
        "Hebr": "he yi",
        "Jpan+Hira+Kana+Hrkt+Hani": "ja",
        "Khmr": "km",
        "Knda": "kn",
        "Kore+Hang+Hani": "ko",
        "Laoo": "lo",
        "Mlym": "ml",
        "Mymr": "my",
        "Sinh": "si",
        "Taml": "ta",
        "Telu": "te",
        "Thai": "th",
    }.items()
    for code in codes.split()
}
# Regions in which a language has another script than elsewhere.
_REGION_SCRIPTS = {
    **dict.fromkeys(("zh-TW", "zh-HK", "zh-MO"), "Hant"),
    **dict.fromkeys(("pa-PK", "uz-AF", "az-IR", "kk-CN"), "Arab"),
    "mn-CN": "Mong",
    "sr-ME": "Latn",
}


@dataclass(frozen=True)
class Language:
    """A row of the table; `system_prompt` is in the language itself."""

    code: str
    name: str
    system_prompt: str


def read_languages(path: Path) -> dict[str, Language]:
    """Read the languages by code, in the table's order."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return {row["code"]: Language(**row) for row in rows}


def codes_by_name(languages: dict[str, Language]) -> dict[str, str]:
    """Return the codes by the English names of languages, in small letters, and by the parts of double names.

    "Chinese (simplified)" is also "Chinese", "Tagalog/Filipino" either of them, "Norwegian Bokmal" also "Norwegian".
    """
    found: dict[str, str] = {language.name.lower(): code for code, language in languages.items()}
    for name, code in list(found.items()):
        for part in (*name.split("/"), name.partition(" (")[0], name.removesuffix(" bokmal")):
            found.setdefault(part.strip(), code)
    return found


def find(code: str, languages: dict[str, Language]) -> Language:
    """Return the language of a code. Raise UserError, with the nearest known language, where it is unknown."""
    if code in languages:
        return languages[code]
    raise UserError(
        f"unknown target language '{code}'{nearest_language(code, languages)}; config/languages.tsv lists all"
    )


def language_of(tag: str) -> str:
    """Return the table's code for a language tag (BCP 47): pt-BR -> pt, iw -> he, eng_Latn -> en.

    A script other than the table's makes another language: zh-TW -> zh-Hant, sr-Latn -> sr-Latn.
    """
    first, *parts = tag.replace("_", "-").split("-")
    if parts and len(parts[0]) == 3 and parts[0].isalpha():  # zh-yue, zh-cmn
        first = parts[0]
    code, _, script = _CANONICAL.get(first.lower(), first.lower()).partition("-")
    for part in parts:
        if len(part) == 1:  # a singleton begins an extension
            break
        if len(part) == 4 and part.isalpha():
            script = part.title()
        elif len(part) == 2:
            script = script or _REGION_SCRIPTS.get(f"{code}-{part.upper()}", "")
    return f"{code}-{script}" if script and script not in _SCRIPTS.get(code, _LATIN) else code


def scripts_of(code: str) -> frozenset[str]:
    """Return the scripts that a language is written in (ISO 15924), of which a code may name one: `zh-Hant`."""
    language, _, script = code.partition("-")
    return frozenset({script}) if script else _SCRIPTS.get(language, _LATIN)


def is_latin(code: str) -> bool:
    """Return whether a language is written in the Latin script."""
    return "Latn" in scripts_of(code)


def direction(code: str) -> str:
    """Return HTML's `dir` of a language: `rtl` or `ltr`."""
    return "rtl" if code in RIGHT_TO_LEFT else "ltr"


def nearest_language(code: str, languages: dict[str, Language]) -> str:
    """Return `, did you mean …?` for an unknown code, country code or English name; empty without a close match."""
    lower = code.lower()
    names = {language.name.lower(): language.code for language in languages.values()}
    known = {**names, **{code: code for code in languages}}
    meant = (language_of(code), _OF_COUNTRIES.get(lower, ""), lower.split("-")[0])
    # The cutoff rejects two-letter codes that share a single letter.
    alike = [known[name] for name in difflib.get_close_matches(lower, known, n=1, cutoff=0.51)]
    near = next((languages[found] for found in (*meant, *alike) if found in languages), None)
    return f", did you mean '{near.code}' ({near.name})?" if near else ""
