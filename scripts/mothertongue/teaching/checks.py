"""The checks of a teacher's answer: what is wrong with it, and whether it may be used all the same."""

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mothertongue.common.language_id import identify, in_other_script, other_language, speaks
from mothertongue.common.languages import UNSPACED_LETTERS, is_latin
from mothertongue.common.writing import letters_of, script_of, scripts_in, unusual_letters
from mothertongue.endpoints.answer_text import declines, has_control_characters, without_thought
from mothertongue.endpoints.answers import Outcome
from mothertongue.translation import code_blocks, segments
from mothertongue.translation.checks import loops
from mothertongue.translation.settings import QualityLimits

REFUSED, REPEATED = "refused", "question repeated"
# A sentence of fewer letters has no language check, unless all are so short and have so many words; the language is a
# doubt then: it is wrong for 1.6% of such Portuguese texts. A letter of a script without spaces is so many letters, and
# not in a text of the script, since lid.176 takes 3.5% of Chinese sentences of 7 to 19 letters for Japanese. Of the 602
# replies of the OASST1 sample those that it finds are in another language.
_JUDGED_LETTERS, _JUDGED_WORDS, _OF_UNSPACED = 20, 4, 3
# How much higher the compression of a whole answer may be than that of a sentence: the sample's reach 3.5.
_OF_A_WHOLE = 2.0
# The same with code and signs, in which a model may be caught, too: the sample's reach 4.6.
_OF_ALL = 4.0
# What models write between turns, also where a server does not recognise it as the end.
_CONTROL = re.compile(
    r"<[|｜][^|｜<>\n]{1,40}[|｜]>|<(?:start|end)_of_turn>|</?s>|<(?:bos|eos|pad|unk)>|\[/?INST\]|<</?SYS>>|</?think>"
)
# The labels of turns in chat formats, at the start of a line; the assistant's own are in a group. A line with a role
# alone is what stays of ChatML and its like where the server leaves out their control tokens. None of the 602 replies
# of the sample goes on so, and of those with a turn put behind them 88% are found: the others end like titles.
_TURN = re.compile(
    r"^ {0,3}(?:(?:#{1,6} ?)?(?:\*\*|__)?(?:User|USER|Human|HUMAN|(Assistant|ASSISTANT))(?:\*\*|__)?"
    r"|#{2,4} ?(?:Instruction|(Response))) ?[:：]|^(?:user|(assistant))[ \t]*$",
    re.MULTILINE,
)
# A line that begins with any label, and with what stands before it.
_LABELLED = re.compile(r"(\W{0,6})[^\W\d_][\w .'’/-]{0,30}\W{0,3}[:：]")
# A line that ends an answer: with a sentence, a picture, or as an item of a list. Others that are short are titles.
_SENTENCE_END = re.compile(r"[.!?…。！？।॥։؟۔။።\U0001f300-\U0001faff\u2600-\u27bf\ufe0f][\s\"'”’»*_)\]]*$")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d+[.)])\s")
_STAGE_DIRECTION = re.compile(r"\s*[*_]*[(\[].*[)\]][*_]*\s*$")
_LONGEST_TITLE = 60
# What stands for a block of code: an item.
_CODE = "\n0.\n"
# Words by which dialogues are asked for, in some languages.
_DIALOGUE = re.compile(
    r"(?i)di[aáàâ]l[oóòôå]g|[ck]onversa[tçcz]|gespr[eä]|screenplay|roteiro|gui[oó]n|drehbuch|scenario|scén|interview"
    r"|entrevist|\bchats?\b|диалог|діалог|διάλογ|对话|對話|対話|会話|대화|حوار|संवाद|บทสนทนา"
)
_WORD = re.compile(r"\w+")
_UNSPACED_LETTER = re.compile(f"[{UNSPACED_LETTERS}]")
# An answer is mostly from the question where more than this share of its runs of three words, of which it has so many,
# are in that. Of 600 replies of the sample 5 are.
_FROM_QUESTION, _RUNS = 0.5, 5
# From the beginning of a run of backticks alone, so that a long run takes no square of its length.
_INLINE_CODE = re.compile(r"(?<!`)(`+)(?!`)[^`\n]+\1")


@dataclass(frozen=True)
class Checked:
    """An answer without what stands around it; `faults` are why it cannot be used, `doubts` why it is suspicious."""

    text: str
    faults: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checks:
    """The checks of answers in the language `lang`, by the limits of `repeats`, `compression` and the language."""

    lang: str
    limits: QualityLimits

    def check(self, outcome: Outcome, question: str, original: str = "", original_lang: str = "") -> Checked:
        """Return the checked answer to a question; `original` is a person's reply in another language."""
        if isinstance(outcome, str):
            return Checked("", (outcome,))
        text = without_thought(outcome.text).strip()
        if outcome.refused:
            return Checked("", (REFUSED,))
        if not outcome.complete:
            return Checked("", ("cut off",))
        if not text:
            return Checked("", ("empty",))
        faults = list(self._faults(text, question, original))
        foreign, most = self._foreign(text, original, original_lang)
        doubts = [f"language: {lang}" for lang in foreign]
        if not foreign:
            doubts = [f"script: {script}" for script in self._scripts(text, question, original, original_lang)]
        if most:
            faults, doubts = faults + doubts, []
        # People's replies to requests for a rewriting do so, too.
        doubts += [REPEATED] if not faults and _mostly_from(text, question) else []
        # A model may rightly decline, and an answer about grief begins like a refusal.
        doubts += [REFUSED] if declines(text) else []
        return Checked(text, tuple(faults), tuple(doubts))

    def _faults(self, text: str, question: str, original: str) -> Iterator[str]:
        if " ".join(text.split()) == " ".join(question.split()):
            yield REPEATED
        prose = [one for one in self._sentences(text) if one]
        if self._loops(prose) or _compression(text) > _OF_ALL * self.limits.compression:
            yield "repetition"
        if has_control_characters("".join(text.split()), question):
            yield "control characters"
        if any(found not in question for found in _CONTROL.findall(_without_code(text))):
            yield "control tokens"
        if _goes_on(text) and not (_DIALOGUE.search(question) or _TURN.search(question) or _TURN.search(original)):
            yield "another turn"

    def _loops(self, prose: list[str]) -> bool:
        """Return whether an answer repeats itself: within a sentence, or sentence by sentence."""
        limits = self.limits
        if any(loops(sentence, limits) for sentence in prose):
            return True
        times = Counter(sentence.lower() for sentence in prose if _letters(sentence) >= _JUDGED_LETTERS)
        if times and max(times.values()) > limits.repeats:
            return True
        whole = QualityLimits(repeats=limits.repeats, compression=_OF_A_WHOLE * limits.compression)
        return loops("\n".join(prose), whole)

    def _foreign(self, text: str, original: str, original_lang: str) -> tuple[list[str], bool]:
        """Return the other languages of an answer's sentences, and whether most of those long enough are in one."""
        found: Counter[str] = Counter()
        sentences = list(self._sentences(text))
        # Or a list of short lines, or a short answer.
        judged = [one for one in sentences if self._size(one) >= _JUDGED_LETTERS] or [" ".join(sentences)]
        sure = self._size(judged[0]) >= _JUDGED_LETTERS
        if sure or sum(map(_has_letter, judged[0].split())) >= _JUDGED_WORDS:
            for one in judged:
                if other := self._other(one):
                    found[other] += len(one)
        # What the person answered in a third language was asked for in it. Related languages are easily taken for each
        # other: it is a third one where the reply can be in neither of the two.
        if original and found and (wanted := self._other(original)) in found and self._is_not(original, original_lang):
            del found[wanted]
        return sorted(found), sure and 2 * found.total() > sum(map(len, judged))

    def _size(self, text: str) -> int:
        """Return the number of a text's letters, of those without spaces in another script as of words."""
        own = scripts_in(self.lang)
        unspaced = sum(script_of(letter) not in own for letter in _UNSPACED_LETTER.findall(text))
        return _letters(text) + (_OF_UNSPACED - 1) * unspaced

    def _scripts(self, text: str, question: str, original: str, original_lang: str) -> list[str]:
        """Return the scripts of an answer that neither its language has, nor the question, nor the replaced reply.

        The letters of the reply's own language are not asked for by it, and Latin names ask for no Latin sentence.
        """
        asked = letters_of(question).keys() | (letters_of(original).keys() - scripts_in(original_lang))
        asked = asked - {"Latn"} | {script for script, _ in unusual_letters(question, self.lang)}
        unusual = {script for prose in self._sentences(text) for script, _ in unusual_letters(prose, self.lang)}
        return sorted(unusual - asked)

    def _is_not(self, text: str, lang: str) -> bool:
        return other_language(text, lang, self.limits.language_confidence) is not None

    def _other(self, text: str) -> str | None:
        if speaks("", self.lang) is None:
            # lid.176 has no label for the language, and is not sure of any.
            found, sure = identify(text)
            return found if found and sure >= self.limits.language_confidence else None
        return other_language(text, self.lang, self.limits.language_confidence) or in_other_script(text, self.lang)

    def _sentences(self, text: str) -> Iterator[str]:
        """Yield the prose of an answer, without code, links and formulas; words of other scripts are prose here."""
        for part in segments.split(text, "" if is_latin(self.lang) else self.lang):
            if part.translate:
                yield " ".join(" ".join(part.around).split())


def _goes_on(text: str) -> bool:
    """Return whether a complete answer is followed by a written-out turn, or begins with the assistant's own label.

    A dialogue that was asked for begins at once, or something introduces it: a colon, a title, a stage direction, or
    the word for it. A label among others is of a list, or of a play.
    """
    prose = _without_code(text, _CODE)
    if (first := _TURN.search(prose)) is None:
        return False
    before = [line for line in prose[: first.start()].splitlines() if _WORD.search(line)]
    if not before:
        return any(first.groups()) and _TURN.search(prose, first.end()) is None
    after = [line for line in prose[first.end() :].splitlines()[1:] if _WORD.search(line)]
    return not _introduces(before[-1]) and not any(_is_label_like(first[0], line) for line in (before[-1], *after[:1]))


def _is_label_like(label: str, line: str) -> bool:
    """Return whether a line begins with a label that is written like a turn's, and is none."""
    found, own = _LABELLED.match(line), _LABELLED.match(label)
    return bool(found and own and found[1] == own[1]) and _TURN.match(line) is None


def _introduces(line: str) -> bool:
    """Return whether a line introduces what follows, and does not end an answer."""
    if _ITEM.match(line):
        return line.rstrip().endswith((":", "："))
    if _STAGE_DIRECTION.match(line) or _DIALOGUE.search(line) or line.rstrip(" *_").endswith((":", "：")):
        return True
    return _SENTENCE_END.search(line) is None and len(line) <= _LONGEST_TITLE


def _mostly_from(text: str, question: str) -> bool:
    """Return whether most of an answer's runs of three words are in the question."""
    runs, asked = _runs(text), set(_runs(question))
    return len(runs) >= _RUNS and sum(run in asked for run in runs) > _FROM_QUESTION * len(runs)


def _runs(text: str) -> list[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return list(zip(words, words[1:], words[2:], strict=False))


def _without_code(text: str, instead: str = "\n") -> str:
    """Return a text without code, with something else in the place of its blocks."""
    bounds = [0, *(bound for span in code_blocks.find(text) for bound in span), len(text)]
    around = instead.join(text[start:end] for start, end in zip(bounds[::2], bounds[1::2], strict=True))
    return _INLINE_CODE.sub(" ", around)


def _compression(text: str) -> float:
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw))


def _has_letter(text: str) -> bool:
    return any(map(str.isalpha, text))


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))
