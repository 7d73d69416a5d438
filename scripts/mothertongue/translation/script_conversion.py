"""Chinese from one script into the other, by OpenCC's tables: no model is needed, and none would do it as well.

OpenCC: https://github.com/BYVoid/OpenCC. Words are looked up, as most characters with several forms depend on them.
"""

import re
from collections.abc import Callable

from mothertongue.translation import segments
from mothertongue.translation.segments import Part

# OpenCC's tables of OTHER_SCRIPTS.
_TABLES = {("zh", "zh-Hant"): "s2t", ("zh-Hant", "zh"): "t2s"}
# Japanese shares characters with Chinese, in forms of its own: a sentence with two kana side by side stays as it is.
# One alone is a Chinese writer's; the dot between names and the long mark are no kana here.
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa\u31f0-\u31ff\uff66-\uff9d]{2}")
MODEL = "opencc"


def converter(source: str, target: str) -> Callable[[str], tuple[str, bool]]:
    """Return the function that converts texts, and says whether a sentence in Japanese was kept in one.

    Code and links stay as they are, too.
    """
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

    def converted(text: str) -> tuple[str, bool]:
        parts = segments.split(text, source)
        return "".join(map(of_part, parts)), any(part.translate and _KANA.search(part.text) for part in parts)

    return converted
