"""Find protected spans in a message: text that a translation keeps byte for byte.

Code, links, formulas, markup and emoji mean the same in every language, and translation models damage them. The time is
linear in the text: each pattern stops where it could match again, or looks up its end in a table built once.
Repeated groups without backtracking are atomic, (?>(...)*): Python before 3.11.5 has a bug in possessive ones (its
issue 106052).
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from mothertongue.common.languages import UNSPACED_LETTERS
from mothertongue.translation import code_blocks, inline_code
from mothertongue.translation.code_blocks import Span

Need = Callable[[str], object]

# A letter, digit or underscore inside a word, without scripts that have no spaces: their words touch those of others.
_W = rf"[^\W{UNSPACED_LETTERS}]"
_NEWLINE = r"(?>\r\n?|\n)"
_INSIDE = rf"[^\\$\r\n]|{_NEWLINE}(?![ \t]*[\r\n])"  # of a formula, which has no blank line

# Emoji: regional flags, keycaps, then a pictograph with its modifiers, variation selectors, tags and joined parts.
_PICTOGRAPH = (
    "[\u203c\u2049\u2139\u2190-\u21ff\u231a-\u23ff\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff\u3030"
    "\U0001f000-\U0001faff][\ufe0e\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]*+"
)
_EMOJI = rf"(?>(?:[\U0001f1e6-\U0001f1ff]{{2}}|[0-9#*]\ufe0f?\u20e3|{_PICTOGRAPH}(?>(?:\u200d{_PICTOGRAPH})*))+)"
# Control characters, private code points, lone surrogates: models drop them, and tokenizers reject some.
_NO_TEXT = "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ue000-\uf8ff\ufffc-\uffff\U000f0000-\U0010ffff]"
# Symbols unknown to small models, and the characters of the word around them (no scripts without spaces).
_SYMBOL = "×÷±²³¹µ§©®†‡¼-¾⅐-⅞⁰-₟ℂ-ⅈ←-⇿∀-⋿"
_GREEK = "\u0370-\u03ff\u1f00-\u1fff"
_NEAR = r"[^\s()\[\]{}\"'|\u0e00-\u109f\u1780-\u17ff\u3000-\ud7ff\uf900-\ufaff\uff00-\uffef]"

# Letters of scripts without spaces belong to a URL after its punctuation, "wiki/日本", but not after its letters.
_URL_CHARACTER = (
    rf"(?:[^\s<>\"`()\[\]|\\\u3000-\u303f\uff00-\uff0f\uff1a-\uff20{UNSPACED_LETTERS}]"
    rf"|[{UNSPACED_LETTERS}](?<=[/=_#&{UNSPACED_LETTERS}-].))"
)
# Languages in Latin script, and letters that their words never have. Greek letters are symbols outside Greek.
_LATIN = re.compile(r"ca|cs|da|de|en|eo|es|et|eu|fi|fr|gl|hr|hu|id|it|lt|lv|nb|nl|pl|pt|ro|sk|sl|sq|sv|tr|vi")
_FOREIGN = f"\u0400-\u1cff\u2c80-\u2dff\u3005{UNSPACED_LETTERS}\ufb1d-\ufdff\ufe70-\ufefc"
_HOST = rf"(?:{_W}|[.:@%-](?={_W}))"
# The rest of a URL without the sentence's punctuation; prose may directly follow a host.
_URL_REST = rf"(?:/(?=[{UNSPACED_LETTERS}])|(?:\((?>{_URL_CHARACTER}*)\)|{_URL_CHARACTER})*(?<![.,;:!?}}'*_…”’»؟،؛۔।]))"
_DOMAIN = rf"\.(?:com|org|net|edu|gov|info|io)(?!{_W})"
_FOLDER = r"[^\s<>:\"|?*,;\\]+"
_ARGUMENTS = r"(?:\((?>(?:[^(),\s]|,[ ]?|\([^()\s]*+\))*)\))"
_RANGE, _SUM = (rf"[ \u00a0]?[{signs}][ \u00a0]?" for signs in ("-/", "+*×÷=^<>≈≤≥≠−"))
_IN_BRACKETS = rf"\([0-9][0-9.,]*+(?:(?:{_RANGE}|{_SUM})[0-9.,]++)?\)"
_NUMBER = rf"(?:[0-9][0-9.,:]*|{_IN_BRACKETS})%?"
# More than "2-3" or "1/2", which also occur in prose.
_SUM_GOES_ON = rf"%?(?>(?:{_RANGE}{_NUMBER}){{0,4}}){_SUM}{_NUMBER}(?:(?:{_RANGE}|{_SUM}){_NUMBER})*(?<![.,:])"


def _has(mark: str) -> Need:
    return lambda text: mark in text


def _not_printable(text: str) -> bool:
    return not text.replace("\n", "").isprintable()


def _not_ascii(text: str) -> bool:
    return not text.isascii()


# Patterns of protected text, by a quick test that the text must pass. Of two that match at one position the first wins.
# A pattern starts with its first character, and the lookbehind follows: the search is faster this way.
_PATTERNS: tuple[tuple[Need, tuple[re.Pattern[str], ...]], ...] = tuple(
    (need, tuple(map(re.compile, patterns)))
    for need, *patterns in (
        (_has("`"), r"(?P<ticks>`++)"),
        (
            _has("\\"),  # formulas, then commands
            r"(?P<paired>\\begin\{[A-Za-z]+\*?\})",
            rf"\\\[(?<!\\\\\[)(?P<escaped>(?>(?:{_INSIDE}|\$|\\[^\[\]\r\n]|\\(?=[\r\n]))+))\\\]",
            rf"\\\((?<!\\\\\()(?P<escaped>(?>(?:{_INSIDE}|\$|\\[^()\r\n])+))\\\)",
            rf"\\(?<!{_W}\\)(?<!\\\\)[A-Za-z]++\*?(?>(?:\{{(?>(?:[^{{}}\s]|\{{[^{{}}\s]*+\}})*)\}})*)",
        ),
        # Markdown's escapes: names with underscores, markup characters, amounts.
        (_has("\\_"), r"(?a:\w(?<![\w\\].)\w*+(?>(?:\\_\w++)+))"),
        (_has("\\"), r"\\[*_|#~<>]", r"\\\$(?:[0-9][0-9.,]*(?<![.,]))?"),
        (_has("~~"), r"~~(?<!~~~)(?!~)"),
        (
            _has("#"),
            r"#(?<![^\s(]#)(?:[0-9A-Fa-f]{6}(?!\w)|[^\W\d_]\w*+|[0-9]++)",
            rf"[A-Za-z](?<!{_W}.)[A-Za-z]{{0,3}}+#(?!\w)",
        ),
        (_has("^"), r"\^(?<!\S.)[^\s]+\$(?!\S)"),  # a regular expression
        (_has("="), code_blocks.CELL),
        (_has("{"), r"\{\{[^{}\n]{1,60}\}\}|\{%[^{}\n]{1,60}%\}|\{[A-Za-z_][\w.]{0,40}\}"),
        (
            _has("$"),  # formulas, then variables
            rf"\$\$(?<![\\$]\$\$)(?!\$)(?P<dollars>(?>(?:{_INSIDE}|\\.?|\$(?!\$))+))\$\$(?!\$)",
            rf"\$(?<!{_W}\$)(?<![\\$]\$)(?![\s$])(?P<dollars>(?>(?:[^$\\\r\n]|\\[^\r\n])+))\$(?<!\s\$)(?:(?!{_W}|\$)|(?=(?:th|s)\b))",
            rf"\$(?<!{_W}\$)(?:[A-Z_][A-Z0-9_]++(?!{_W}|\$)|\{{\w+\}})",
        ),
        (
            _has("<"),  # strings of chat formats; elements of code, comments, tags. "<insert a name here>" is prose
            r"<</?SYS>>|<[|｜][^|｜<>\s]{1,40}[|｜]>",
            r"(?P<paired><(?:pre|code|kbd|samp|script|style|svg|math|textarea)\b[^<>]*+>)",
            r"<!--(?>(?:(?!<!--|-->)[\s\S])*)-->|<![A-Za-z][^<>]*+>|<\?(?>(?:(?!<\?|\?>)[\s\S])*)\?>",
            r"</?[A-Za-z](?:[\w:.-]*+(?:[ ](?:checked|disabled))?[ ]*+/?>|[^\s<>']++>|(?=[^<>\n]*?(?:\w=|://))[^<>\n]*+>)",
            r"<[A-Za-z][\w:.-]*+(?>(?:\s++[\w:@.-]++=(?:\"[^\"<>]*+\"|'[^'<>]*+'))+)\s*+/?>",
        ),
        (_has("&"), r"&(?:[A-Za-z][A-Za-z0-9]{1,31}|\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6});"),
        (
            _has("["),  # strings of chat formats; the target of a link, a reference, a footnote
            r"\[/?(?:INST|IMG|[A-Z]+_[A-Z_]+)\]",
            r"\((?<=\]\()[^()\s]*+(?>(?:\([^()\s]*+\)[^()\s]*+)*)(?:[ \t]++\"[^\"\n]*+\")?\)",
            r"\[(?<=\]\[)[^\[\]\n]*+\]",
            r"\[\^[^\[\]\s]{1,40}\]",
        ),
        # URLs, e-mail addresses, folders on remote machines, domains.
        (_has("://"), rf"[A-Za-z](?<![A-Za-z0-9+.-].)[A-Za-z0-9+.-]{{1,15}}://(?>{_HOST}*){_URL_REST}(?<!//)"),
        (_has("www."), rf"www\.(?<!{_W}www\.)(?>(?:{_W}|-)+)\.(?={_W})(?>{_HOST}*){_URL_REST}"),
        (
            _has("@"),
            r"(?a:[\w.+%-](?<![\w.+%-].)[\w.+%-]*+@(?:[\w-]+(?>(?:\.[\w-]+)+)|[\w-]++(?=:[\w.~-]*/))"
            r"(?::[\w.~-]*/[\w./~-]*)?(?<!\.))",
        ),
        (
            re.compile(_DOMAIN).search,
            rf"[A-Za-z0-9](?<!{_W}.)(?<![@.-].)[A-Za-z0-9-]*(?:\.[A-Za-z0-9-]+)*{_DOMAIN}(?:(?=/){_URL_REST})?",
        ),
        # Paths, options, names in code.
        (_has("/"), r"(?a:/(?<![\w./~<>)\]-]/)[\w.@+-]+(?:/[\w.@+-]*)+)(?<!\.)"),
        (re.compile(r"/(?<=[~.].)").search, r"(?a:[~.](?<![\w./~].)\.?/[\w.@+-]+(?:/[\w.@+-]*)*)(?<!\.)"),
        (
            _has(":\\"),
            rf"[A-Za-z](?<!{_W}.):\\(?:{_FOLDER}(?:[ ](?=[A-Z0-9(]){_FOLDER}){{0,3}}\\)*[^\s<>:\"|?*,;]+(?<![.)'])",
        ),
        (_has("--"), rf"--(?<![^\s(\"'\[{UNSPACED_LETTERS}]--)(?a:[a-z][\w-]*+)(?:=[^\s,;)]+|(?![^\n-]*\w--))"),
        (_has("_"), rf"(?a:[A-Za-z](?<![\w.].)(?=[\w.]*[A-Za-z0-9]__?[A-Za-z0-9])\w*+(?>(?:\.\w++)*)){_ARGUMENTS}?"),
        (_has("()"), r"(?a:[A-Za-z_](?<![\w.].)\w*+(?>(?:\.\w++)*))\(\)"),
        (re.compile(r"\.\w+\(").search, rf"(?a:[A-Za-z_](?<![\w.].)\w*+(?>(?:\.[A-Za-z_]\w*+)+)){_ARGUMENTS}"),
        (
            re.compile(r"[A-Z](?<=[a-z].)[a-z]").search,
            rf"[a-z](?<!{_W}.)(?<!\..)[a-z]+(?:[A-Z][a-z0-9]+)+(?!{_W}){_ARGUMENTS}?",
        ),
        (
            re.compile(rf"[0-9](?:(?<=[A-Za-z].)|[%)]?{_SUM}[0-9(])").search,  # keys, then sums
            rf"[A-Za-z0-9](?<!{_W}.)(?<![/+=-].)(?=(?:[A-Za-z+/_=-]*+[0-9]){{4}})[A-Za-z0-9+/_=-]{{23,}}",
            rf"[0-9](?<!{_W}.)(?<![.,:].)[0-9.,:]*{_SUM_GOES_ON}",
            rf"(?<!{_W}){_IN_BRACKETS}{_SUM_GOES_ON}",
        ),
        (re.compile(r"[:;](?<=[ \n].)[()D-]").search, r"[:;](?<!\S.)-?[()DP](?!\w)"),
        (_not_printable, rf"{_NO_TEXT}++"),
        (_not_ascii, _EMOJI),
    )
)

_CODE: tuple[tuple[Need, tuple[re.Pattern[str], ...]], ...] = tuple(
    (re.compile(need).search, tuple(map(re.compile, patterns))) for need, *patterns in inline_code.PATTERNS
)

_FOREIGN_LETTER = re.compile(f"[{_FOREIGN}]")
_FOREIGN_WORD = rf"[^\W{_FOREIGN}]*+[{_FOREIGN}][\w{_FOREIGN}]*+"
_FIRST_FOREIGN_WORD = re.compile(rf"(?<![\w{_FOREIGN}]){_FOREIGN_WORD}")
_FOREIGN_WORDS = re.compile(rf"{_FIRST_FOREIGN_WORD.pattern}(?>(?:[ ,.!?'-]{{1,2}}{_FOREIGN_WORD})*)")
_NUMBER_BEFORE = r"(?<=[0-9])[0-9.,]*+(?<=[0-9])[ ]"
_NEAR_AFTER = rf"(?>(?:(?![,;:!?.]|[A-Za-z]{{1,15}}://){_NEAR})*)"
_SYMBOLS, _SYMBOLS_AND_GREEK = (
    re.compile(rf"{_NEAR}(?<!{_NEAR}.)(?:(?<=[{symbol}])|(?:{_NUMBER_BEFORE})?{_NEAR}*[{symbol}]){_NEAR_AFTER}")
    for symbol in (_SYMBOL, _SYMBOL + _GREEK)
)

# Openings and their ends: runs of backticks of equal length within a paragraph, LaTeX environments, HTML elements.
_PAIRS = re.compile(
    r"(?P<ticks>`++)"
    rf"|(?P<paragraph>{_NEWLINE}[ \t>]*+(?:[\r\n]|[-*+•][ \t]|\d{{1,4}}[.)][ \t]|\#{{1,6}}[ \t]|\||```|~~~))"
    r"|\\(?P<edge>begin|end)\{(?P<environment>[A-Za-z]+\*?)\}"
    r"|<(?:(?P<slash>/)|(?!(?:script|style|svg|math|textarea)>[ ]\w+[ ,.]))"  # "<svg> and ..." only names it
    r"(?P<element>pre|code|kbd|samp|script|style|svg|math|textarea)\b[^<>]*+>"
)
# Signs that text between dollars or escaped brackets is maths: prices and Markdown use these delimiters too.
_MATHS = re.compile(r"[\\^_={}]")
_MATHS_OR_NUMBER = re.compile(r"[+*/<>|0-9]")
_WORDS_IN_A_ROW = re.compile(r"(?<![^\s\d])(?:[^\W\d_]{2,}+[,;]?[ ]){2}[^\W\d_]{2}")
_FUNCTION = r"(?!(?:sin|cos|tan|log|ln|exp|max|min|mod|lim)\b)"
_WORD_APART = re.compile(rf"\"|\s{_FUNCTION}[^\W\d_]{{2}}|\b{_FUNCTION}[^\W\d_]{{2,}}+\s")
_WORD = re.compile(r"[^\W\d_]{2}")


_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*")


def spans(text: str, lang: str, unreadable: frozenset[str] = frozenset()) -> list[Span]:
    """Return the protected spans of a text in language `lang`, in order; merge adjacent spans.

    Words with `unreadable` characters are protected. Give those of all texts, not of this one alone: each set of
    characters is a pattern, which takes longer to compile than a text to search.
    """
    found: list[Span] = []
    position = 0
    patterns = [pattern for need, patterns in _CODE + _PATTERNS if need(text) for pattern in patterns]
    if not text.isascii():
        patterns.append(_SYMBOLS if lang == "el" else _SYMBOLS_AND_GREEK)
        if _LATIN.fullmatch(lang) and 2 * len(_FOREIGN_LETTER.findall(text)) < len(text):
            patterns.append(_FOREIGN_WORDS)
    if not unreadable.isdisjoint(text):
        patterns.append(_words_with(unreadable))
    ends = _ends(text) if "`" in text or "\\begin{" in text or "</" in text else {}
    for start, end in [*code_blocks.find(text), (len(text), len(text))]:
        for first, last in [*_marks(text, position, start, patterns, ends), (start, end)]:
            if found and found[-1][1] == first:
                found[-1] = (found[-1][0], last)
            elif first < last:
                found.append((first, last))
        position = end
    return found


@lru_cache(maxsize=16)
def _words_with(characters: frozenset[str]) -> re.Pattern[str]:
    """Return the pattern of words with one of the characters, amounts included ("£1,500", "5 €"); brackets alone."""
    brackets = "".join(character for character in sorted(characters) if character in "<>{}[]()«»‹›")
    others = "".join(sorted(characters.difference(brackets)))
    patterns = [f"[{re.escape(brackets)}]"] if brackets else []
    if others:
        one = f"[{re.escape(others)}]"
        near = f"(?:(?!{patterns[0]}){_NEAR})" if brackets else _NEAR
        after = rf"(?>(?:(?![,;:!?.]|[A-Za-z]{{1,15}}://){near}|[,.:](?=[0-9]))*)"
        patterns.insert(0, rf"{near}(?<!{_NEAR}.)(?:(?<={one})|(?:{_NUMBER_BEFORE})?{near}*{one}){after}")
        patterns.append(one)
    return re.compile("|".join(patterns))


@dataclass(frozen=True)
class _Rest:
    """The rest of a match after another protected span, as a match of the same pattern."""

    first: int
    last: int
    re: re.Pattern[str]

    def start(self) -> int:
        return self.first

    def end(self) -> int:
        return self.last


def _next(match: re.Match[str] | _Rest, text: str, position: int, stop: int) -> re.Match[str] | _Rest | None:
    """Return the next match of a pattern, from a position on."""
    # A run of words keeps its end: searching it again would be quadratic in the number of words.
    if match.re is _FOREIGN_WORDS and position < match.end():
        word = _FIRST_FOREIGN_WORD.search(text, position, match.end())
        if word:
            return _Rest(word.start(), match.end(), match.re)
    return match.re.search(text, position, stop)


def _marks(
    text: str, position: int, stop: int, patterns: list[re.Pattern[str]], ends: dict[int, int]
) -> Iterator[Span]:
    """Yield the spans that patterns match from a position to a stop: the earliest match, then those after its end."""
    matches: list[re.Match[str] | _Rest] = [
        found for pattern in patterns if (found := pattern.search(text, position, stop))
    ]
    while matches:
        first = min(matches, key=_start)
        end, position = _end(first, ends, stop)
        if end:
            yield first.start(), end
        matches = [
            later
            for match in matches
            if (later := match if match.start() >= position else _next(match, text, position, stop))
        ]


def _start(match: re.Match[str] | _Rest) -> int:
    return match.start()


def _end(match: re.Match[str] | _Rest, ends: dict[int, int], stop: int) -> tuple[int, int]:
    """Return the end of the span that a match begins (0 where it is not protected), and where to continue."""
    if isinstance(match, _Rest) or not match.lastgroup:
        return match.end(), match.end()
    kind = match.lastgroup
    paired = ends.get(match.start(), 0)
    paired = paired if paired <= stop else 0
    if kind == "ticks":
        return paired or (match.end() if len(match[kind]) >= 3 else 0), paired or match.end()
    if kind == "paired":
        return paired or match.end(), paired or match.end()
    if not _is_formula(match[kind], escaped=kind == "escaped"):
        return 0, match.start() + 1
    return match.end(), match.end()


def _is_formula(inside: str, escaped: bool) -> bool:
    if _MATHS.search(inside) and ("\\" in inside or not _WORDS_IN_A_ROW.search(inside)):
        return True
    if _WORD_APART.search(inside):
        return False
    return not escaped or bool(_MATHS_OR_NUMBER.search(inside)) or not _WORD.search(inside)


def _ends(text: str) -> dict[int, int]:
    """Return the end of each closed run of backticks, environment and element by its start."""
    ends: dict[int, int] = {}
    ticks: dict[int, int] = {}
    closing: dict[str, list[int]] = defaultdict(list)
    for match in reversed(list(_PAIRS.finditer(text))):
        name = match["environment"] or match["element"]
        if match["paragraph"]:
            ticks.clear()
        elif match["ticks"]:
            size = len(match["ticks"])
            if size in ticks:
                ends[match.start()] = ticks[size]
            ticks[size] = match.end()
        elif match["edge"] == "end" or match["slash"]:
            closing[name].append(match.end())
        elif closing[name]:
            ends[match.start()] = closing[name].pop()
    return ends


def tables(lines: list[str]) -> list[bool]:
    """Return for each line whether it belongs to a Markdown table: a rule, the row above it, the rows below."""
    rows = [False] * len(lines)
    for number, line in enumerate(lines):
        if "|" not in line:
            continue
        bare = line.strip(" \t\r\n>")
        if bare.startswith("|") and bare.endswith("|") and len(bare) > 1:
            rows[number] = True
        if _TABLE_RULE.fullmatch(line.rstrip("\r\n")):
            rows[number] = True
            if number and "|" in lines[number - 1]:
                rows[number - 1] = True
        elif number and rows[number - 1]:
            rows[number] = True
    return rows
