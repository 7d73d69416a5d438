"""Settings of a teacher: arguments of scripts/answer.py, and keys of `teacher`."""

from dataclasses import dataclass

from mothertongue.common.settings import setting


@dataclass(frozen=True)
class TeacherSettings:
    """What a teacher is told, and how it answers."""

    instructions: str = setting(
        "", "what the model is told besides, such as: Use the informal you.",
        manual="what the model is told besides, such as `Use the informal you.`",
    )  # fmt: skip
    max_tokens: int = setting(
        1024, "longest answer in tokens; one that is cut off there is not used", at_least=64,
        manual="longest answer in tokens; the model is told about as many words, and an answer that is cut off is not "
        "used",
    )  # fmt: skip
    temperature: float = setting(
        0.7, "temperature of the first attempt at an answer", at_least=0, at_most=2,
        manual="temperature of the first attempt at an answer; the answers are kept, so a second run has the same",
    )  # fmt: skip
