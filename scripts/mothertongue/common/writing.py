"""The script that a text is written in, for languages with several: lid.176 names the language alone."""

import unicodedata
from collections import Counter
from functools import lru_cache

from mothertongue.common.languages import scripts_of

# Languages that people write in more than one script, and these; Latin letters in Chinese are names and code.
_ALPHABETS = frozenset({"Arab", "Cyrl", "Guru", "Latn", "Mong"})
_SEVERAL = dict.fromkeys(("az", "bs", "ha", "kk", "mn", "ms", "pa", "sr", "uz"), _ALPHABETS)
_SEVERAL["zh"] = frozenset({"Hans", "Hant"})
# So many letters of another script make a text one of that script.
_ENOUGH = 3
_NAMES = {"LATIN": "Latn", "CYRILLIC": "Cyrl", "ARABIC": "Arab", "GURMUKHI": "Guru", "MONGOLIAN": "Mong"}
# The languages of another script that have a code of their own in the table.
_CODES = {"zh-Hans": "zh"}


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
def _script(character: str) -> str | None:
    """Return the script of a letter; Hans and Hant for Chinese characters that only one of the two has.

    These are the characters of one of the standards GB 2312 (simplified) and Big5 (traditional) alone.
    """
    if "\u3400" <= character <= "\u9fff":
        simplified, traditional = (_is_in(character, standard) for standard in ("gb2312", "big5"))
        return None if simplified == traditional else "Hans" if simplified else "Hant"
    return _NAMES.get(unicodedata.name(character, "").partition(" ")[0]) if character.isalpha() else None


def _is_in(character: str, standard: str) -> bool:
    try:
        character.encode(standard)
    except UnicodeEncodeError:
        return False
    return True
