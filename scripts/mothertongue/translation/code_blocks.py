"""Find blocks of code in a message: fenced, indented, and unmarked lines of code, classified line by line."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from itertools import accumulate, takewhile

Span = tuple[int, int]

_FENCE = re.compile(r"[ \t>]*(?:[-*+][ \t]+|\d+[.)][ \t]+)?(?P<fence>`{3,}(?=[^`]*$)|~{3,4}(?!~))")
_NAMED_FENCE = re.compile(r"[ \t>]*`{3,}\w[^`]*$")
# A fence that opens at the end of a line of prose: "Here it is: ```python".
_LATE_FENCE = re.compile(r"(?>(?:[^`]++|`[^`]++`(?!`))*)(?P<fence>`{3,})[\w+#.-]*[ \t]*$")

# A spreadsheet formula with brackets balanced up to three levels.
CELL = r"=(?<![\w=<>!]=)[A-Z]{2,}\((?>(?:[^()\n]|\((?>(?:[^()\n]|\([^()\n]*+\))*)\))*)\)"
_WORD = re.compile(r"[^\W\d_]{2}")
# Signs of code in a line, after strings, URLs and comments are removed.
_LITERAL = re.compile(CELL + r"|\"[^\"]*+\"|(?<!\w)'[^']*+'|\$[^$]*+\$|\w{2,10}://\S+|(?:#|//)[ ].*")
_SIGN = re.compile(
    r"""
    \{$ | \S(?=[ ]?\{$) | ^[)\]}] | ^''[ ]?: | [A-Za-z0-9_\])][(\[](?!e?s\)) | (?<![<>!:])=(?!>)
    | :: | && | \|\| | [A-Za-z_][A-Za-z0-9_]\.[a-z_][a-z] | [A-Za-z0-9]_[A-Za-z0-9] | \$[{(] | \w\*\*[\w(]
    | ^(?=[a-z_][\w.]*\((?!e?s\)).*\);?$) | ^(?=import[ ][a-z_][\w.]*;?$)
    | [ ](?:import|FROM|WHERE|SET|VALUES|AS|ON)[ ] | ;[ ](?:do|then)$
    | ^(?:import|from|package|using|namespace|def|class|function|func|fn|struct|enum|interface|const|let|var|int|float
        |double|char|void|bool|public|private|protected|static|export|async|await|if|elif|else:?|for|while|switch|case|do
        |done|fi|then|try:?|except|catch|finally:?|with|return|pass|break|continue|print|echo|end|cd|mkdir
        |SELECT|FROM|WHERE|INSERT|UPDATE|DELETE|CREATE|ORDER|GROUP|(?:INNER[ ]|LEFT[ ]|RIGHT[ ])?JOIN|>>>|@\w+
        |\#(?:include|define|pragma))(?!\S)
    """,
    re.VERBOSE,
)
# Signs that prose has too: they only count beside a strong sign.
_WEAK_SIGN = re.compile(r"[};]$|->|=>|\):$|^set(?!\S)")
_PLAIN_WORD = re.compile(
    r"(?<!\S)(?![A-Z]+\b)[^\W\d_]{2,}+[,.:!?]?(?!\S)|[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{2}"
)
_CALLED_WITH = re.compile(r"(?<=\w)\([^()]*+\)")
_COMMENT = re.compile(r"#(?!#)|//|/\*|--[ ]")
# A shell command (a program with an action, an option or a file, or any text after a prompt), an SQL query or a JSON
# object.
_PROGRAM = (
    r"(?:pip3?|npm|npx|yarn|git|docker|docker-compose|conda|apt|apt-get|brew|curl|wget|ssh|scp|chmod|python3?|cargo"
    r"|kubectl|systemctl|ls|cd)[ ]"
)
_ACTION = (
    r"(?:(?:install|clone|init|add|run|commit|push|pull|build|update|start|stop|restart|status|enable|up|checkout)(?!\S)"
    r"|[-+]|\.\.?$|https?:|[^\s,;]*[/@_.][^\s.]|(?<=cd[ ])\w+-[\w-]+$)"
)
_TABLE = r"(?:CREATE|ALTER|DROP)[ ]TABLE[ ]"
_QUERY = rf"(?>SELECT[ ].*?[ ]FROM[ ]|INSERT[ ]INTO[ ]|UPDATE[ ].*?[ ]SET[ ]|DELETE[ ]FROM[ ]|{_TABLE})"
_COMMAND = re.compile(
    rf"#!/|(?:(?:\$|sudo)[ ][a-z./]|{_PROGRAM}{_ACTION}).*(?<!\w[.,:!?])$|{_QUERY}.*;$|\{{[ ]?\"[^\"]*\"[ ]?:.*\}}$"
)
# Function words in the languages of most messages: they mark "git add is what you need" as prose.
_SAID = re.compile(
    r"(?<!\S)(?:an?|the|this|that|these|you|your|its?|is|are|was|and|or|of|to|with|will|can|from|when|el|la|los|las"
    r"|que|es|un|una|del|para|le|les|des|est|et|une|pour|der|die|das|und|ist|ein|eine|il|di|che|per|um|uma|os|em)(?!\S)"
    r"|[^\W\x00-\x7f]"
)
_TYPED = re.compile(
    rf"^[ \t>]*(?:(?:[-*+•]|\d+[.)])[ \t]+)?(?:#!/|\$[ ]|sudo[ ]|{_PROGRAM}|{_QUERY}|import[ ])", re.MULTILINE
)
_STRONG = re.compile(r"[=;(]")
_CALL = re.compile(r"\((?<=[A-Za-z0-9_].)(?!e?s\))")
_LIST_ITEM = re.compile(r"[ \t>]*(?:[-*+•]|\d+[.)])[ \t]")
# An indented block without any of these is a list or a poem.
_DATA = re.compile(rf"[=_;{{}}\[\]\\<>$#@|]|(?<!\S)[-/~.]{{1,2}}\w|\w[/,]\w|[A-Za-z]\d|{_PROGRAM}")
_INDENTED = re.compile(r"(?: {4}|\t)[ \t]*\S")

# How likely a line is code. A block needs two lines of _CODE, or one of _SURE.
_PROSE, _EITHER, _LIKELY, _CODE, _SURE = range(5)


def find(text: str) -> list[Span]:
    """Return the spans of fenced blocks, indented blocks and unmarked lines of code, sorted."""
    fenced = _fenced(text) if "```" in text or "~~~" in text else []
    found = list(fenced)
    position = 0
    for start, end in [*fenced, (len(text), len(text))]:
        found.extend(_unfenced(text[position:start], position))
        position = end
    return sorted(found)


def _lines(text: str, offset: int = 0) -> list[tuple[str, int]]:
    """Return each line without its line ending, and its start offset."""
    found = []
    for line in text.splitlines(keepends=True):
        found.append((line.rstrip("\r\n"), offset))
        offset += len(line)
    return found


def _fenced(text: str) -> list[Span]:
    """Return fenced blocks; an unclosed block of backticks runs to the end of the text, unless prose follows."""
    found: list[Span] = []
    lines = _lines(text)
    fences = _Fences([body for body, _ in lines])
    unclosed: set[str] = set()
    number = 0
    while number < len(lines):
        body, start = lines[number]
        number += 1
        opening = _FENCE.match(body) or _LATE_FENCE.match(body)
        if not opening or (fence := opening["fence"]) in unclosed:
            continue
        late = opening.re is _LATE_FENCE
        start += opening.start("fence") if late else 0
        last, end = fences.closing(fence, number)
        if body.endswith(fence) and not late and fences.is_stray(number, last, closed=end > 0):
            unclosed.update(() if end else {fence})
        elif end:
            found.append((start, lines[last][1] + end))
            number = last + 1
        elif late or fence[0] == "~":
            unclosed.add(fence)
        else:
            found.append((start, len(text)))
            break
    return found


class _Fences:
    """Tables of closing fences and of prose lines between them, since a text may open any number of fences."""

    def __init__(self, bodies: list[str]) -> None:
        self._bodies = bodies
        # Lines with fence characters at either end, longest run first: a run closes fences of up to its length.
        sizes = ((max(_marks(body.lstrip(" \t>")), _marks(body.rstrip()[::-1])), i) for i, body in enumerate(bodies))
        self._marked = sorted((size, number) for size, number in sizes if size >= 3)[::-1]
        self._closings: dict[str, list[int]] = {}

    def closing(self, fence: str, number: int) -> Span:
        """Return the first line from `number` that closes a fence and the end in it; the line count and 0 for none."""
        if fence not in self._closings:
            able = takewhile(lambda marked: marked[0] >= len(fence), self._marked)
            self._closings[fence] = sorted(i for _, i in able if _closes(self._bodies[i], fence))
        closings = self._closings[fence]
        at = bisect_left(closings, number)
        if at == len(closings):
            return len(self._bodies), 0
        return closings[at], _closes(self._bodies[closings[at]], fence)

    def is_stray(self, first: int, stop: int, closed: bool) -> bool:
        """Return whether a bare fence before line `first` opens no block.

        It does not where sentences follow up to `stop` or up to a fence with a language.
        """
        at = bisect_left(self._named, first)
        named = at < len(self._named) and self._named[at] < stop
        end = self._named[at] if named else stop
        bodies, prose = (sums[end] - sums[first] for sums in (self._not_blank, self._prose))
        return (named or not closed) and 2 * prose > bodies

    @cached_property
    def _named(self) -> list[int]:
        """The numbers of the lines that open a fence with a language."""
        return [number for number, body in enumerate(self._bodies) if _NAMED_FENCE.match(body)]

    @cached_property
    def _not_blank(self) -> list[int]:
        """Cumulative number of lines before each that are not blank."""
        return [0, *accumulate(bool(body.strip()) for body in self._bodies)]

    @cached_property
    def _prose(self) -> list[int]:
        """Cumulative number of lines before each that are sentences."""
        return [0, *accumulate(map(_is_sentence, self._bodies))]


def _marks(text: str) -> int:
    """Return the length of the run of fence characters at the start of a text."""
    return len(text) - len(text.lstrip(text[0])) if text[:1] in ("`", "~") else 0


def _is_sentence(body: str) -> bool:
    return _kind(body) == _PROSE and len(_PLAIN_WORD.findall(body)) >= 4


def _closes(body: str, fence: str) -> int:
    """Return the offset in a line where it closes a fence: alone, before prose, or after the last code; 0 for none."""
    bare = body.lstrip(" \t>")
    if not bare.startswith(fence):
        return len(body) if fence[0] == "`" and body.rstrip().endswith(fence) else 0
    rest = bare.lstrip(fence[0])
    if not rest.strip():
        return len(body)
    return len(body) - len(rest) if rest[0] == " " and len(rest.split(None, 1)) > 1 else 0


def _unfenced(text: str, offset: int) -> Iterator[Span]:
    """Yield the unfenced blocks of code in a piece of text that begins at an offset."""
    indented = text[:1] in (" ", "\t") or "\n    " in text or "\n\t" in text
    if not (indented or "=" in text or "{" in text or ";\n" in text or _CALL.search(text) or _TYPED.search(text)):
        return
    lines = _lines(text, offset)
    kinds = [_kind(body) for body, _ in lines]
    if indented:
        _judge_indented(lines, kinds)
    first = 0
    for number in range(len(lines) + 1):
        if number < len(lines) and kinds[number] != _PROSE:
            continue
        likely = [i for i in range(first, number) if kinds[i] >= _LIKELY]
        if sum(kinds[i] - _LIKELY for i in likely) >= 2:
            start, end = likely[0], likely[-1]
            # Adjacent comments and brackets belong to the block.
            while start > first and lines[start - 1][0].strip():
                start -= 1
            while end + 1 < number and lines[end + 1][0].strip():
                end += 1
            yield lines[start][1], lines[end][1] + len(lines[end][0])
        first = number + 1


def _kind(body: str) -> int:
    """Return how likely a line is code by its signs of code and its plain words; indentation makes it likelier."""
    bare = body.strip() if ">>> " in body else body.strip(" \t>")
    if not _WORD.search(bare):
        return _CODE if bare.strip("()[],; ") in ("{", "}") else _EITHER
    if len(bare) > 120 and not _STRONG.search(bare):
        return _PROSE
    item = _LIST_ITEM.match(body)
    code = _LITERAL.sub("''", bare)
    if _COMMAND.match(body, item.end()) if item else _COMMAND.match(bare):
        return _PROSE if _SAID.search(code) else _SURE
    if item:
        return _PROSE
    strong = len(_SIGN.findall(code))
    signs = strong + len(_WEAK_SIGN.findall(code))
    words = len(_PLAIN_WORD.findall(_CALLED_WITH.sub("", code))) if signs else 0
    indented = _INDENTED.match(body) is not None
    if (strong >= 2 and words <= signs + 1) or (strong and signs >= 2 and not words):
        return _SURE if indented or (signs >= 3 and words <= 2) else _CODE
    if signs and words <= 4:
        return _LIKELY + (indented and strong > 0)
    return _EITHER if _COMMENT.match(bare) or (indented and _is_terse(body)) else _PROSE


def _judge_indented(lines: list[tuple[str, int]], kinds: list[int]) -> None:
    """Mark as code, in `kinds`, blocks indented after a blank line outside lists whose lines are not mostly prose."""
    block: list[int] = []
    in_list, blank = False, True
    for number, (body, _) in enumerate([*lines, ("end", 0)]):
        if _INDENTED.match(body) and not in_list and (blank or block):
            block.append(number)
        elif body.strip():
            prose = sum(kinds[i] == _PROSE for i in block)
            is_code = any(kinds[i] >= _LIKELY or _DATA.search(lines[i][0]) for i in block) and 2 * prose <= len(block)
            for i in block if is_code else ():
                kinds[i] = _SURE
            block = []
            in_list = bool(_LIST_ITEM.match(body)) or (in_list and body[0] in " \t")
        blank = not body.strip()


def _is_terse(body: str) -> bool:
    """Return whether a line looks like a command (up to three words, no capital, no final stop) or data ("a,b,c")."""
    words = body.split()
    small = len(words) <= 3 and "a" <= words[0][0] <= "z" and words[-1][-1] not in ".,:!?"
    return small or (len(words) == 1 and "," in words[0][:-1])
