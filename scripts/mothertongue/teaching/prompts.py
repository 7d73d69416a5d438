"""What a teacher is asked: the conversation up to a user's message, and to answer that in the language."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mothertongue.common.plain_text import byte_length
from mothertongue.endpoints.protocol import Request
from mothertongue.teaching.settings import TeacherSettings

_SYSTEM = """\
You are a helpful, knowledgeable assistant, and {language} is your mother tongue. Answer the user's last message in \
{language}, as a native speaker would write it: correctly, naturally and completely, in at most {words} words. The \
messages may be translated from another language; do not mention that, and do not correct them. Only code, names, \
quotations and what the user explicitly wants in another language may be in another language. Write the answer alone."""
_OF_THE_CONVERSATION = "These instructions belong to the conversation:"
# What another attempt is told, by what was wrong with the last one.
_AGAIN = {
    "language": "An earlier answer was in another language. Write in {language} only.",
    "cut off": "An earlier answer was too long. Use at most {half} words.",
    "repetition": "An earlier answer repeated itself. Say each thing once.",
    "another turn": "An earlier answer went on with what the user might say next. End with your answer, and write no "
    "labels such as User: or Assistant: before it.",
}
_AGAIN_OTHER = "An earlier answer could not be used. Take care to write plain text in {language}, and to answer."
# Temperatures of the attempts after the first: the first of them is careful, the last may find what none has.
_TEMPERATURES = (0.3, 1.0)
ATTEMPTS = 1 + len(_TEMPERATURES)
# Bytes of a token, and tokens of a message besides its text: estimates that are rather too high in tokens.
_TOKEN_BYTES, _ROLE_TOKENS = 2, 16
# Tokens of a word: few languages have more.
_WORD_TOKENS = 3
# (role, text) of a message, with the roles of chat models.
Turn = tuple[str, str]


@dataclass(frozen=True)
class Prompts:
    """Makes the requests. `language` is the English name of the language, `window` what the model reads and writes."""

    language: str
    window: int
    settings: TeacherSettings

    def request(
        self, question: str, earlier: Iterable[Turn], system: str = "", attempt: int = 0, fault: str = ""
    ) -> tuple[Request, bool] | None:
        """Return the request for the answer to a question, and whether it has all earlier turns; None where it is long.

        `earlier` are the turns before the question, the last first: the oldest exchanges are left out where the window
        has no room for all. `system` are the conversation's own instructions, `fault` is what was wrong with the
        attempt before.
        """
        told = self._told(system, fault if attempt else "")
        room = self.window - self.settings.max_tokens - _tokens(told) - _tokens(question)
        if room < 0:
            return None
        kept, whole = _fitting(earlier, room)
        messages = [("system", told), *kept, ("user", question)]
        temperature = (self.settings.temperature, *_TEMPERATURES)[attempt]
        turns = tuple({"role": role, "content": text} for role, text in messages)
        return Request(turns, self.settings.max_tokens, temperature), whole

    def _told(self, system: str, fault: str) -> str:
        words = self.settings.max_tokens // _WORD_TOKENS
        parts = [_SYSTEM]
        if fault:
            parts.append(_AGAIN.get(fault.partition(":")[0], _AGAIN_OTHER))
        for name, value in (("language", self.language), ("words", words), ("half", words // 2)):
            parts = [part.replace(f"{{{name}}}", str(value)) for part in parts]
        own = f"{_OF_THE_CONVERSATION}\n{system}" if system else ""
        return "\n".join(filter(None, [*parts, self.settings.instructions, own]))


def _fitting(earlier: Iterable[Turn], room: int) -> tuple[list[Turn], bool]:
    """Return the last exchanges that fit in so many tokens, in their order, and whether these are all."""
    kept: list[Turn] = []
    for exchange in _exchanges(earlier):
        room -= sum(_tokens(text) for _, text in exchange)
        if room < 0:
            return kept[::-1], False
        kept += exchange
    return kept[::-1], True


def _exchanges(earlier: Iterable[Turn]) -> Iterator[list[Turn]]:
    """Yield turns, the last first, in runs that each end with a user's."""
    run: list[Turn] = []
    for turn in earlier:
        run.append(turn)
        if turn[0] == "user":
            yield run
            run = []


def _tokens(text: str) -> int:
    """Return the tokens of a message, at most, for nearly all texts."""
    return -(-byte_length(text) // _TOKEN_BYTES) + _ROLE_TOKENS
