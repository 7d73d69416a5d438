"""Chinese from one script into the other, by OpenCC's tables: no model is needed, and none would do it as well.

OpenCC: https://github.com/BYVoid/OpenCC. Words are looked up, as most characters with several forms depend on them.
"""

import re
from collections.abc import Callable

from mothertongue.translation import segments
from mothertongue.translation.segments import Part

# OpenCC's tables by the languages between which they convert.
_TABLES = {("zh", "zh-Hant"): "s2t", ("zh-Hant", "zh"): "t2s"}
# Japanese shares characters with Chinese, in forms of its own: a sentence with kana stays as it is.
_KANA = re.compile(r"[\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f]")
MODEL = "opencc"


def converts(source: str, target: str) -> bool:
    """Return whether the languages are one, in two scripts."""
    return (source, target) in _TABLES


def converter(source: str, target: str) -> Callable[[str], str]:
    """Return the function that converts texts; code, links and sentences with kana stay as they are."""
    from opencc import OpenCC

    convert = OpenCC(_TABLES[source, target]).convert

    def of_part(part: Part) -> str:
        if not part.translate or _KANA.search(part.text):
            return part.text
        found, end = "", 0
        for start, stop in part.spans:
            found += convert(part.text[end:start]) + part.text[start:stop]
            end = stop
        return found + convert(part.text[end:])

    return lambda text: "".join(of_part(part) for part in segments.split(text, source))
