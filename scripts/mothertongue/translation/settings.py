"""Settings of the translation: arguments of scripts, and keys of `translation` and `quality`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mothertongue.common.settings import setting
from mothertongue.endpoints.settings import EndpointSettings

_COMPUTE_TYPES = [
    "auto", "int8", "int8_float32", "int8_float16", "int8_bfloat16", "int16", "float16", "bfloat16", "float32",
]  # fmt: skip


@dataclass(frozen=True)
class EngineSettings:
    """Settings of an engine. The codes are the language pair's; `workers` are processes or threads on a CPU.

    `endpoint` are those of the server of the endpoint engine, `answers` the file that keeps its answers, and `usage`
    the one that tells what they cost.
    """

    source_code: str = ""
    target_code: str = ""
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "where models run",
        manual="`cpu`, `cuda` (all devices that a job sees), `auto`: a GPU where there is one",
    )  # fmt: skip
    compute_type: str = setting(
        "auto", "int8, float16, float32 ...; auto is the fastest", schema={"enum": _COMPUTE_TYPES},
        manual="number format that the model computes in: `int8`, `float16`, `float32`, ...; `auto` is the fastest "
        "that the device has",
    )  # fmt: skip
    beam_size: int = setting(
        1, "1 is greedy search", at_least=1,
        manual="1 is greedy decoding; 4 took 2.8 times as long with a model of OPUS-MT's size on two CPU cores",
    )  # fmt: skip
    batch_tokens: int | Literal["auto"] = setting(
        "auto", "source tokens a batch", at_least=64, expected="a number of tokens from 64, or auto",
        manual="source tokens translated at once; halved, with a warning, if memory runs out. `auto`: "
        "512 a thread on a CPU (2,048 for models of more than 50 MB) and 65,536 a GPU with CTranslate2, as "
        "[measured](../performance.md#translation-tokens-a-batch), 8,192 with transformers",
    )  # fmt: skip
    workers: int = setting(1, "processes or threads on a CPU", key=None, at_least=1)
    prompt: str = setting(
        "Translate the following text from {source} into {target}.\n{source}: {text}\n{target}:",
        "what an llm is asked; {source}, {target}, {text}", expected="a text with {text} in it",
        schema={"pattern": r"\{text\}"}, shown="Tower's",
        manual="the prompt of the `llm` engine; `{text}` is the segment, `{source}` and `{target}` the languages' "
        "English names",
    )  # fmt: skip
    instructions: str = setting(
        "", "what the model of an endpoint is told besides, such as: Use the informal you.",
        manual="what the model of the `endpoint` engine is told besides, such as `Use the informal you.`",
    )  # fmt: skip
    endpoint: EndpointSettings | None = None
    answers: Path | None = None
    usage: Path | None = None


@dataclass(frozen=True)
class QualityLimits:
    """Thresholds of the quality checks.

    `length_ratio`: bytes of the translation over those of its source, or the reverse.
    `repeats`: how often one to six words, or one to eight letters, may follow themselves.
    `compression`: bytes over bytes compressed by zlib, as in Whisper's check for loops (Radford et al., 2022: 2.4).
    `language_confidence`: the identifier's least confidence that it is another language. `score`: the lowest mean
    log-probability of a token. `meaning`: the estimator that compares the meaning of source and translation,
    `meaning_model`: its model, and `meaning_threshold`: its least score.
    """

    meaning: Literal["use", "labse"] | None = setting(
        None, "the estimator that judges translations by meaning", expected="use, labse or null",
        manual="judges every sentence's translation by meaning: `use`, Google's Universal Sentence Encoder, of 16 "
        "languages, or `labse`, of 109 ([more](../stages/translation.md#judged-by-meaning)); `null`: not judged",
    )  # fmt: skip
    meaning_model: str | None = setting(
        None, "folder of labse's model, which scripts/fetch_estimator.py wrote", expected="a model reference or null",
        manual="another model for `labse`: a BERT model with pooled vectors, in safetensors; `null`: "
        "`setu4993/LaBSE`",
    )  # fmt: skip
    meaning_threshold: float | None = setting(
        None, "flag a translation with a lower score of the estimator; its own by default", at_least=-1, at_most=1,
        manual="flags a sentence whose translation has a lower score; `null`: the estimator's own (`use`: 0.5; "
        "`labse` has none). `scripts/calibrate_quality.py` finds one for a pair of languages",
    )  # fmt: skip
    length_ratio: float = setting(
        4.0, "flag a sentence whose translation is so many times longer or shorter, in bytes", above=1,
        manual="flags a sentence whose translation is this many times longer or shorter in UTF-8 bytes; below 40 bytes "
        "only one that is more than half as many times longer, and 12 bytes and characters more. Scripts differ by up "
        "to three bytes a letter; beyond four times something is lost or invented",
    )  # fmt: skip
    repeats: int = setting(
        4, "flag a translation that says words or letters more often than this in a row", at_least=1,
        manual="flags a translation that repeats one to six words, or one to eight letters, more often than this in a "
        "row, unless its source does",
    )  # fmt: skip
    compression: float = setting(
        2.4, "flag a translation that zlib compresses more than so many times", above=1,
        manual="flags a translation that zlib compresses by a higher factor. Sentences of the OASST1 sample reach "
        "1.8, loops begin at 2.5",
    )  # fmt: skip
    language_confidence: float = setting(
        0.7, "flag a translation that is in another language with at least this confidence", above=0, at_most=1,
        manual="flags a translation (from 60 bytes) that is in another language with at least this probability, while "
        "the right one has less than 5%. None of 1,500 FLORES sentences cut to 60 characters is flagged",
    )  # fmt: skip
    score: float = setting(
        -1.5, "flag a translation whose tokens have a mean log-probability below this", at_most=0,
        expected="a number below 0; -1000 never flags",
        manual="flags a sentence (from 40 bytes) whose tokens have a lower mean log-probability. Of a weak test "
        "model's translations of FLORES 5% are below -1.1, and its loops between -1.3 and -1.8; `-1000` switches "
        "it off",
    )  # fmt: skip
