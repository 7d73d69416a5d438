"""The settings of a comparison by a judge: arguments of scripts/judge.py, and keys of `judge`."""

from dataclasses import dataclass

from mothertongue.common.settings import setting

# The pairs of systems that are compared where they exist, as texts.
PAIRS = ["adapter vs base", "adapter vs base_system_prompt", "adapter_system_prompt vs base_system_prompt"]
VERSUS = " vs "
_SYSTEM = r"(?:base|sft|adapter)(?:_system_prompt)?|base_few_shot"


@dataclass(frozen=True)
class JudgeSettings:
    """What a judge is asked, and how much of it."""

    pairs: list[str] = setting(
        PAIRS, "systems to compare, such as 'adapter vs base'; those that do not exist are left out",
        manual="systems of the evaluation to compare ([more](../judge.md#what-is-compared)); pairs of which one does "
        "not exist are left out",
        shown="three pairs", expected="pairs of systems such as adapter vs base",
        schema={
            "uniqueItems": True,
            "items": {
                "type": "string",
                "pattern": f"^(?:{_SYSTEM}){VERSUS}(?:{_SYSTEM})$(?!\\n)",
                "description": "two systems such as adapter vs base",
            },
        },
    )  # fmt: skip
    prompts: int = setting(100, "held-out prompts whose answers are compared, at most", at_least=1)
    human_pairs: int = setting(
        200, "pairs of replies ranked by people that the judge compares, at most, of each group", at_least=30,
        manual="pairs of replies that people ranked, at most, of each group (the language, and English): how often the "
        "judge agrees with people ([more](../judge.md#can-it-judge-the-language))",
    )  # fmt: skip
    max_tokens: int = setting(
        400, "longest answer of the judge in tokens", at_least=16,
        manual="longest answer of the judge in tokens; more for models that think before they answer",
    )  # fmt: skip
    seed: int = setting(42, "draws prompts, pairs and intervals", at_least=0)
