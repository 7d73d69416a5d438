"""Protected text: what a translation keeps byte for byte, found inside a message.

Code, links, formulas, markup and emoji mean the same in every language, and translation models damage them.
"""

import re

Span = tuple[int, int]

_FENCE = re.compile(r"^[ \t>]*(?:[-*+][ \t]+|\d+[.)][ \t]+)?(`{3,}(?=[^`]*$)|~{3,})")
# A fence that opens at the end of a line of prose: "Here it is: ```python".
_LATE_FENCE = re.compile(r"[^`]*?(`{3,})[\w+#.-]*[ \t]*$")
_BLOCK = re.compile(
    r"(?<!\$)\$\$(?!\$)(?P<dollars>.+?)(?<!\$)\$\$(?!\$)"
    r"|\\\[(?P<brackets>.+?)\\\]"
    r"|\\begin\{(?P<environment>[A-Za-z]+\*?)\}.+?\\end\{(?P=environment)\}"
    r"|<(?P<tag>pre|code|script|style)\b[^<>]*>.*?</(?P=tag)>",
    re.DOTALL | re.IGNORECASE,
)
# A formula has no blank line in it and something mathematical: "$$" is also said of prices, "\\[" of options.
_MATHS = re.compile(r"(?!.*\n[ \t]*\r?\n).*[\\^_=+*/<>{}0-9]", re.DOTALL)
_CODE = re.compile(r"[;{}=<>$\\|_()\[\]]")
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
            r"(?<=\])\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)",  # the target of a Markdown link
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
        for match in _BLOCK.finditer(text, position, start):
            formula = match["dollars"] or match["brackets"]
            if formula is None or _MATHS.match(formula):
                spans.append(match.span())
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
    indented: list[Span] = []
    position, fence, start = 0, "", 0
    blank_above, in_list = True, False

    def end_indented() -> None:
        lines = [text[start:end] for start, end in indented]
        # Prose is indented too: four words, and nothing that code is full of.
        prose = sum(len(line.split()) >= 4 and not _CODE.search(line) for line in lines)
        if 2 * prose <= len(indented):
            spans.extend(indented)
        indented.clear()

    for line in text.splitlines(keepends=True):
        body = line.rstrip("\r\n")
        span = (position, position + len(body))
        opening = None if fence else _FENCE.match(body) or _LATE_FENCE.match(body)
        if fence:
            bare = body.strip(" \t>")
            if bare.startswith(fence) and not bare.strip(fence[0]):
                spans.append((start, span[1]))
                fence = ""
        elif opening:
            end_indented()
            fence, start = opening[1], position + (opening.start(1) if opening.re is _LATE_FENCE else 0)
        elif body.strip() and _INDENTED.match(body) and not in_list and (blank_above or indented):
            indented.append(span)
        elif body.strip():
            end_indented()
            in_list = bool(_LIST_ITEM.match(body)) or (in_list and body[0] in " \t")
        blank_above = not body.strip()
        position += len(line)
    end_indented()
    if fence:
        spans.append((start, len(text)))
    return sorted(spans)
