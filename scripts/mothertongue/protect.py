"""Protected text: what a translation keeps byte for byte, found inside a message.

Code, links, formulas, markup and emoji mean the same in every language, and translation models damage them.
"""

import re

Span = tuple[int, int]

_FENCE = re.compile(r"^[ \t>]*(?:[-*+][ \t]+|\d+[.)][ \t]+)?(`{3,}(?=[^`]*$)|~{3,})")
_FORMULA_BLOCK = re.compile(
    r"\$\$.+?\$\$|\\\[.+?\\\]|\\begin\{(?P<environment>[A-Za-z]+\*?)\}.+?\\end\{(?P=environment)\}", re.DOTALL
)
_INDENTED = re.compile(r"(?: {4}|\t)[ \t]*\S")
_LIST_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d+[.)])[ \t]")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-{2,}:?[ \t]*(?:\|[ \t]*:?-{2,}:?[ \t]*)*\|?[ \t]*")

# Emoji: regional flags, then a pictograph with its modifiers, variation selectors and joined parts.
_PICTOGRAPH = (
    "[\u203c\u2049\u2122\u2139\u2190-\u21ff\u231a-\u23ff\u25a0-\u27bf\u2934\u2935\u2b00-\u2bff\u3030"
    "\U0001f000-\U0001faff][\ufe0f\U0001f3fb-\U0001f3ff]*"
)
_EMOJI = rf"[\U0001f1e6-\U0001f1ff]{{2}}|[0-9#*]\ufe0f?\u20e3|{_PICTOGRAPH}(?:\u200d{_PICTOGRAPH})*"

_INLINE = re.compile(
    "|".join(
        (
            r"(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`)",  # inline code
            r"\\\(.+?\\\)",  # formulas
            r"(?<![\w\\$])\$(?![\s$])[^$\n]*?(?<![\s\\])\$(?![\w$])",
            r"\[/?INST\]|<</?SYS>>|<\|[^|<>\s]{1,40}\|>",  # control strings of chat formats
            r"<!--.*?-->|</?[A-Za-z][^<>\n]*>",  # HTML and autolinks
            r"&(?:[A-Za-z]+|#\d+);",
            r"(?<=\])\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*\)",  # the target of a Markdown link
            r"(?<=\])\[[^\[\]]*\]",
            r"(?:https?|ftp)://[^\s<>\"`]*[^\s<>\"`.,;:!?)\]}'*_，。]",  # URLs without the sentence's own punctuation
            r"www\.[\w-]+\.[^\s<>\"`]*[^\s<>\"`.,;:!?)\]}'*_]",
            r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+",  # e-mail addresses
            r"(?<![\w.,])\d[\d.,]*(?:\s?[-+*/×÷=^<>≈≤≥≠−]\s?\(?\d[\d.,]*\)?%?)+(?<![.,])",  # arithmetic, dates
            rf"(?:{_EMOJI})+",
            # Words with symbols that small models do not know, and write as others.
            r"(?<![^\s()\[\]{}\"'|])[^\s()\[\]{}\"'|]*[×÷±²³¹⁰-₟ℂ-ⅈ←-⇿∀-⋿][^\s()\[\]{}\"'|,;:!?.]*",
        )
    )
)


def blocks(text: str) -> list[Span]:
    """Protected spans of whole lines or of several: code blocks and displayed formulas, in order."""
    code = _code_blocks(text)
    spans = list(code)
    position = 0
    for start, end in [*code, (len(text), len(text))]:
        spans.extend(match.span() for match in _FORMULA_BLOCK.finditer(text, position, start))
        position = end
    return sorted(spans)


def inline(line: str) -> list[Span]:
    """Protected spans inside one line, in order."""
    return [match.span() for match in _INLINE.finditer(line)]


def tables(lines: list[str]) -> list[bool]:
    """For each line whether it is a row (or rule) of a Markdown table: a rule, the row above it, the rows below."""
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


def _code_blocks(text: str) -> list[Span]:
    """Fenced blocks (an unclosed one runs to the end) and indented ones that follow a blank line outside lists."""
    spans: list[Span] = []
    position, fence, start = 0, "", 0
    blank_above, in_list, in_indented = True, False, False
    for line in text.splitlines(keepends=True) if "\r" not in text else re.findall(r"[^\n]*\n|[^\n]+", text):
        end = position + len(line)
        if fence:
            bare = line.strip(" \t\r\n>")
            if bare.startswith(fence) and not bare.strip(fence[0]):
                spans.append((start, position + len(line.rstrip("\r\n"))))
                fence = ""
        elif match := _FENCE.match(line.rstrip("\r\n")):
            fence, start = match[1], position
            in_indented = False
        elif not line.strip():
            blank_above = True
            position = end
            continue
        elif _INDENTED.match(line) and not in_list and (blank_above or in_indented):
            spans.append((position, position + len(line.rstrip("\r\n"))))
            in_indented = True
        else:
            in_indented = False
            in_list = bool(_LIST_ITEM.match(line)) or (in_list and line[0] in " \t")
        blank_above = False
        position = end
    if fence:
        spans.append((start, len(text)))
    return spans
