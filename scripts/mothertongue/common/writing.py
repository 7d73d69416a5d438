"""The scripts that a text is written in: of a language with several lid.176 names the language alone."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

from mothertongue.common.languages import scripts_of

# Languages that people write in more than one script, and these; Latin letters in Chinese are names and code.
_ALPHABETS = frozenset({"Arab", "Cyrl", "Guru", "Latn", "Mong"})
_SEVERAL = dict.fromkeys(("az", "bs", "ha", "kk", "mn", "ms", "pa", "sr", "uz"), _ALPHABETS)
_SEVERAL["zh"] = frozenset({"Hans", "Hant"})
# So many letters of another script make a text one of that script.
_ENOUGH = 3
# Scripts by the first word of their letters' names in Unicode.
_NAMES = {
    "LATIN": "Latn", "CYRILLIC": "Cyrl", "ARABIC": "Arab", "GURMUKHI": "Guru", "MONGOLIAN": "Mong", "GREEK": "Grek",
    "HEBREW": "Hebr", "DEVANAGARI": "Deva", "BENGALI": "Beng", "GUJARATI": "Gujr", "TAMIL": "Taml", "TELUGU": "Telu",
    "KANNADA": "Knda", "MALAYALAM": "Mlym", "SINHALA": "Sinh", "THAI": "Thai", "LAO": "Laoo", "KHMER": "Khmr",
    "MYANMAR": "Mymr", "GEORGIAN": "Geor", "ARMENIAN": "Armn", "ETHIOPIC": "Ethi", "HANGUL": "Hang", "CJK": "Hani",
    "HIRAGANA": "Hira", "KATAKANA": "Kana",
}  # fmt: skip
# The languages of another script that have a code of their own in the table.
_CODES = {"zh-Hans": "zh"}

# Four words in small letters in a row are a sentence: Latin names, titles and code are in texts of all languages.
_LATIN_WORD = "[a-zß-öø-ÿ][a-zß-öø-ÿ'’-]*"
_LATIN_SENTENCE = re.compile(rf"(?<![\w'’-])(?:{_LATIN_WORD} ){{3,}}{_LATIN_WORD}")
# Characters that are neither Latin letters nor, mostly, punctuation or symbols.
_BEYOND_LATIN = re.compile("[^\0-\u024f\u1e00-\u1eff\u2000-\u206f\u20a0-\u20cf]")
# Fewer Greek letters are symbols.
_GREEK = 3
_QUOTED = re.compile(
    r"\"[^\"\n]*\"|[(（\[【][^()（）\[\]【】\n]*[)）\]】]|[“„«「『《][^“”„«»「」『』《》\n]*[”“»」』》]|(?<!\w)['‘][^'‘’\n]*['’](?!\w)"
)


def scripts_in(lang: str) -> frozenset[str]:
    """Return the scripts of the letters that a text in a language has; Chinese ones are quoted in Korean."""
    scripts = scripts_of(lang)
    return scripts - {"Hani"} if "Hang" in scripts else scripts | {"Hani"} if scripts & _SEVERAL["zh"] else scripts


def letters_of(text: str) -> Counter[str]:
    """Return the number of a text's letters by their scripts."""
    return Counter(script for character in text if (script := script_of(character)))


def unusual_letters(text: str, lang: str) -> Iterator[tuple[str, str]]:
    """Yield the letters in a text that its language is not written in, in runs, each with its script.

    Of Latin ones only sentences, and none that are quoted or in brackets, as Chinese ones may be in Korean.
    """
    own = scripts_in(lang)
    if "Latn" in own and not _BEYOND_LATIN.search(text):
        return
    outside = without_quoted(text)
    for script, run in groupby(outside if "Hang" in own else text, key=script_of):
        letters = "".join(run)
        if script not in own | {None, "Latn"} and (script != "Grek" or len(letters) >= _GREEK):
            yield str(script), letters
    if "Latn" not in own:
        yield from (("Latn", sentence) for sentence in _LATIN_SENTENCE.findall(outside))


def without_quoted(text: str) -> str:
    """Return a text without what stands in quotation marks and brackets."""
    return _QUOTED.sub(" ", text)


def other_script(text: str, lang: str) -> str | None:
    """Return the code of a text's language in the script that it is written in, where `lang` has another: `zh-Hant`.

    The text is in the language of `lang`, in one script or another. Return None where the script is right, where the
    text has too little of either to tell, and for languages that are written in one script.
    """
    code = lang.partition("-")[0]
    if code not in _SEVERAL:
        return None
    counts = Counter(script for character in text if (script := _script(character)) in _SEVERAL[code])
    own = sum(counts[script] for script in scripts_of(lang))
    script, most = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if script in scripts_of(lang) or most <= own or most < _ENOUGH:
        return None
    return _CODES.get(f"{code}-{script}", f"{code}-{script}")


@lru_cache(maxsize=1 << 16)
def script_of(character: str) -> str | None:
    """Return the script of a letter (ISO 15924), Hani for all Chinese characters; None for others."""
    return _NAMES.get(unicodedata.name(character, "").partition(" ")[0]) if character.isalpha() else None


@lru_cache(maxsize=1 << 16)
def _script(character: str) -> str | None:
    """Return the script of a letter; Hans and Hant for Chinese characters that only one of the two has.

    These are the characters of one of the standards GB 2312 (simplified) and Big5 (traditional) alone.
    """
    if "\u3400" <= character <= "\u9fff":
        simplified, traditional = (_is_in(character, standard) for standard in ("gb2312", "big5"))
        return None if simplified == traditional else "Hans" if simplified else "Hant"
    return script_of(character)


def _is_in(character: str, standard: str) -> bool:
    try:
        character.encode(standard)
    except UnicodeEncodeError:
        return False
    return True
