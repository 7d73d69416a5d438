"""All keys of the configuration: those of the steps' settings, and those that only the workflow reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mothertongue.common.settings import defaults_of, rows_of, schema_of, setting
from mothertongue.dataset.settings import (
    FlaggedSettings,
    MixSettings,
    PreferenceSettings,
    ReviewSettings,
    ThreadSettings,
)
from mothertongue.endpoints.settings import EndpointModel, EndpointSettings, ServedModel
from mothertongue.evaluation.judge_settings import JudgeSettings
from mothertongue.evaluation.settings import EvaluationSettings, QuantizationSettings, ServerSettings
from mothertongue.export.settings import CalibrationSettings, MergeSettings
from mothertongue.source.settings import FetchSettings, FormatSettings, LimitSettings
from mothertongue.teaching.settings import TeacherSettings
from mothertongue.translation.settings import EngineSettings, QualityLimits
from mothertongue.tuning.settings import DataSettings, Schedule, TuningSettings

_LANGUAGE = r"[a-z]{2,3}(-[A-Z][a-z]{3})?"
_LANGUAGE_CODE = {
    "type": "string",
    "pattern": f"^{_LANGUAGE}$",
    "description": "a language code such as en or zh-Hant, without a region",
}
_REFERENCE = {
    "type": "string",
    "minLength": 1,
    "description": "a hub id (owner/name, optionally @revision), a local folder, a local .gguf file, or "
    "package:NAME/PATH",
}
_OPTIONAL_REFERENCE = {"type": ["string", "null"], "minLength": 1, "description": "a model reference, or null"}
_ENGINE = {"type": "string", "minLength": 1, "description": "the name of a translation engine"}
_TEXT = {"type": "string"}
_MODELS = {
    "type": "object",
    "propertyNames": {
        "pattern": f"^{_LANGUAGE}-{_LANGUAGE}$",
        "description": "a pair of language codes such as en-nl",
    },
    "additionalProperties": {
        "description": "a model reference, {model: REFERENCE, target_token: TOKEN}, or null for no model",
        "oneOf": [
            {"type": "null"},
            _REFERENCE,
            {
                "type": "object",
                "additionalProperties": False,
                "required": ["model"],
                "properties": {"model": _REFERENCE, "source_token": _TEXT, "target_token": _TEXT},
            },
        ],
    },
}
_FALLBACK = {
    "description": "null, an engine, or {engine: NAME, model: REFERENCE, models: {PAIR: REFERENCE}}",
    "oneOf": [
        {"type": "null"},
        _ENGINE,
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["engine"],
            "properties": {"engine": _ENGINE, "model": _OPTIONAL_REFERENCE, "models": _MODELS},
        },
    ],
}
_DATASET = {
    "description": "a hub id, a file or folder, or {train: PATH, validation: PATH}",
    "oneOf": [
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["train", "validation"],
            "properties": {"train": _TEXT, "validation": _TEXT},
        },
    ],
}
_REPLAY = {
    "description": "null, or {languages: [en], share: 0.1}",
    "oneOf": [
        {"type": "null"},
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["languages", "share"],
            "properties": {
                "languages": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _LANGUAGE_CODE},
                "share": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            },
        },
    ],
}
_DUPLICATES = {
    "description": "null, or {threshold: 0.8, keep: best}",
    "oneOf": [
        {"type": "null"},
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["threshold"],
            "properties": {
                "threshold": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                "keep": {"enum": ["best", "first"]},
            },
        },
    ],
}
_SPLIT = {
    "description": "null, the name of a split, or {train: NAME, validation: NAME}",
    "oneOf": [
        {"type": "null"},
        {"type": "string", "minLength": 1},
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["train"],
            "properties": {"train": _TEXT, "validation": _TEXT},
        },
    ],
}
_LANGUAGES = "en es ru de zh fr th pt ca ko uk it ja vi eu pl hu ar nl sv tr fi cs da gl he ro nb id bg bn fa el eo sk"
_HUB_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
_TEMPLATES = ("auto", "tokenizer", "llama2", "llama3", "mistral", "chatml", "gemma", "phi3", "zephyr")
Quantization = Literal["f16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q4_k_m", "q4_k_s", "q4_0", "q3_k_m", "q2_k"]
Packed = Literal["gptq", "awq"]


@dataclass(frozen=True)
class Results:
    """Keys at the top level."""

    results: str = setting(
        "results", "folder that everything is built in; targets begin with it; no `{}` or `<>` in it",
        schema={"pattern": r"^(?!-|\.\.?$)[^{}<>\n]*[^{}<>/\n]$(?!\n)"},
        expected="a folder such as results, without a slash at its end, {}, <>, or a hyphen at its beginning",
    )  # fmt: skip
    fetch_in_jobs: bool = setting(
        False, "on a cluster: fetch and convert data and models in jobs, whose nodes then need the network; by default "
        "this is done where Snakemake runs",
    )  # fmt: skip
    answers: Literal["translated", "teacher"] = setting(
        "translated",
        "who writes what the assistant says: `translated`, the people of the dataset; `teacher`, a chat model that "
        "answers the translated questions ([more](../teacher.md))",
    )
    container: str | None = setting(
        None, "with `--sdm apptainer`, the image in which rules run: a file that `make image` wrote, or a URL such as "
        "`docker://...` ([more](../deployment.md#in-a-container))", schema={"pattern": r"^\S+$(?!\n)"},
        expected="a path or URL without spaces",
    )  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """Keys of `source` that choose the dataset."""

    dataset: str = setting(
        "OpenAssistant/oasst1",
        "hub id, a local file or folder in [one of these formats](../stages/source.md#conversations-in-other-formats), "
        "or `{train: PATH, validation: PATH}`",
        schema=_DATASET,
    )  # fmt: skip
    revision: str = setting(
        "fdf72ae0827c1cda404aff25b6603abec9e3399b", "commit, tag or branch of a dataset on the hub", shown="a commit",
        schema={"minLength": 1}, expected="a commit, tag or branch, in quotes where it is all digits",
    )  # fmt: skip
    configuration: str | None = setting(
        None, "configuration of a dataset on the hub, if it has several", schema={"minLength": 1},
        expected="the name of a configuration, or null",
    )  # fmt: skip
    split: str | None = setting(
        None, "splits of a dataset on the hub: null (train, and validation if there is one), the "
        "name of one, or `{train: NAME, validation: NAME}`", schema=_SPLIT,
    )  # fmt: skip
    columns: dict[str, str | None] = setting(
        {}, "other names of columns, for conversations: `{prompt: Vraag, reply: Antwoord}`; `null` ignores a column "
        "([more](../stages/source.md#conversations-in-other-formats))",
        schema={
            "type": "object",
            "additionalProperties": {"type": ["string", "null"], "minLength": 1},
            "description": "columns by what they hold, such as {prompt: Vraag, reply: Antwoord}",
        },
    )  # fmt: skip
    licence: str = setting(
        "apache-2.0", "the dataset's licence, for the cards: set it with `source.dataset`; empty: not stated"
    )
    scope: Literal["all", "threads"] = setting(
        "all",
        "`all`: every message is translated; `threads`: only those that threads can be made of "
        "([more](../stages/translation.md#only-what-the-threads-need))",
    )


@dataclass(frozen=True)
class Languages:
    """Keys of `source` that choose what is translated of the dataset."""

    languages: list[str] = setting(
        _LANGUAGES.split(),
        "languages to translate from, without region; messages in others are counted as `excluded`. A language in "
        "another script than its usual one counts as another language: messages tagged `zh-TW`, `zh-HK` or `zh-Hant` "
        "are `zh-Hant` ([more](../stages/source.md#what-a-dataset-may-hold))",
        shown="the 35 of OASST1", schema={"minItems": 1, "uniqueItems": True, "items": _LANGUAGE_CODE},
        expected="language codes, each once",
    )  # fmt: skip


@dataclass(frozen=True)
class Shards:
    """Keys of `source` that divide the dataset."""

    shards: dict[str, int] = setting(
        {"en": 2},
        "slices of a language that are translated at the same time, each in a job; 1 if not listed "
        "([more](../stages/translation.md#how-many-shards))",
        schema={
            "type": "object",
            "propertyNames": _LANGUAGE_CODE,
            "additionalProperties": {
                "type": "integer", "minimum": 1, "maximum": 10000, "description": "a whole number from 1 to 10000",
            },
        },
    )  # fmt: skip


@dataclass(frozen=True)
class Engines:
    """Keys of `translation` that choose engines and models."""

    engine: str = setting(
        "opus-mt", "which models translate ([more](../stages/translation.md#which-translation-engine))", schema=_ENGINE
    )
    model: str | None = setting(
        None,
        "model reference for engines with one model for all languages, such as `facebook/nllb-200-3.3B`; `null`: the "
        "engine's own",
        schema=_OPTIONAL_REFERENCE,
    )
    models: dict[str, Any] = setting(
        {},
        "models by pair of languages, used instead of the engine's own: a model reference (`{en-nl: owner/name}`), "
        '`{model: owner/name, target_token: ">>por<<"}` if the model needs a target token, or `null` for no model '
        "([more](../stages/translation.md#which-translation-engine))",
        schema=_MODELS,
    )
    fallback: str | None = setting(
        None, "a second engine for sentences that fail a check: its name, or `{engine: nllb, model: ...}`",
        schema=_FALLBACK,
    )  # fmt: skip
    engines: list[Any] = setting(
        [], "two engines that both translate every sentence, each a name or `{engine: nllb, model: ...}`: the better "
        "translation by the checks and `quality.meaning` is kept; replaces `engine` and `fallback`",
        schema={"oneOf": [
            {"type": "array", "maxItems": 0},
            {"type": "array", "minItems": 2, "maxItems": 2, "items": {"oneOf": _FALLBACK["oneOf"][1:]}},
        ]}, expected="two engines, or []",
    )  # fmt: skip
    memory: bool = setting(
        True, "keeps what engines returned in `results/memory/`, so that no segment is translated twice "
        "([more](../stages/translation.md#translation-memory))",
    )  # fmt: skip
    allow_noncommercial: bool = setting(
        False,
        "`true` allows models whose licence forbids commercial use; this then applies to everything made with them",
    )


@dataclass(frozen=True)
class TaughtPreferences:
    """The key of `teacher` for preferences."""

    preferences: bool = setting(
        False, "`true`: replies are translated, too, and [preferences](../teacher.md#preferences) compare the "
        "teacher's answer with the translation of the reply that it replaces",
    )  # fmt: skip


@dataclass(frozen=True)
class Prompts:
    """Keys of `threads` that determine how a thread becomes a prompt."""

    system_prompt: str | None = setting(
        None, "`null`: the language's own from `languages.tsv`; `''`: none; otherwise your text",
        expected="a text, '' for none, or null for the language's own",
    )  # fmt: skip
    prompt_format: str = setting(
        "auto",
        "the chat template: `auto`, `tokenizer`, one of `config/templates/` by name, or a `.jinja` file of yours "
        "([more](../stages/threads.md#which-chat-template))",
        schema={"pattern": rf"^({'|'.join(_TEMPLATES)}|.+\.jinja)$"},
        expected=f"{', '.join(_TEMPLATES)} or a .jinja file",
    )


@dataclass(frozen=True)
class Contamination:
    """Keys of `contamination`."""

    prompts: bool = setting(
        True, "leave out training conversations that contain a prompt of the evaluation (a run of 13 of its words), as "
        "`contaminated`: lines of `config/prompts/LANG.txt`, first questions of validation threads",
    )  # fmt: skip
    benchmarks: bool = setting(
        False,
        "the same for the questions of the language's benchmarks "
        "([more](../stages/threads.md#duplicates-and-contamination))",
    )


@dataclass(frozen=True)
class Mix:
    """Keys of `mix` that choose what is trained on."""

    shares: dict[str, float] = setting(
        {}, "shares of the assistant's tokens in the training threads, by source (`{oasst: 0.7, chats: 0.3}`) or of "
        "`native` and `translated` ones; empty: all threads, once ([more](../stages/threads.md#mixing))",
        schema={
            "type": "object",
            "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1},
            "description": "shares from 0 to 1 by source, or of native and translated",
        },
    )  # fmt: skip
    replay: dict[str, Any] | None = setting(
        None, "adds conversations in their original language, so that the model keeps it: `{languages: [en], "
        "share: 0.1}`, a share of all tokens", schema=_REPLAY,
    )  # fmt: skip


@dataclass(frozen=True)
class BaseModel:
    """The key of `tuning` for the base model."""

    base_model: str = setting("NousResearch/Llama-2-7b-chat-hf", "model reference", schema=_REFERENCE)


@dataclass(frozen=True)
class Methods:
    """Keys of `tuning` that override others in dpo and orpo."""

    dpo_beta: float = setting(
        0.1, "in `dpo`: how near to the SFT adapter to stay; a larger value stays nearer", key="dpo.beta", above=0
    )
    dpo_learning_rate: float = setting(
        5e-6, "in `dpo`, the learning rate", key="dpo.learning_rate", above=0, shown="`5.0e-6`",
        expected="a number above 0, written 2.0e-4 (YAML reads 2e-4 as text)",
    )  # fmt: skip
    dpo_epochs: float = setting(1, "in `dpo`, the passes over the data", key="dpo.epochs", above=0)
    dpo_schedule: Schedule = setting("cosine", "in `dpo`, the schedule", key="dpo.schedule")
    orpo_learning_rate: float = setting(
        8e-5, "in `orpo`, the learning rate; the default is that of TRL's example with LoRA", key="orpo.learning_rate",
        above=0, shown="`8.0e-5`", expected="a number above 0, written 2.0e-4 (YAML reads 2e-4 as text)",
    )  # fmt: skip
    orpo_beta: float = setting(
        0.1, "in `orpo`: the weight of the preference relative to the text", key="orpo.beta", above=0
    )


@dataclass(frozen=True)
class Machine:
    """Keys of `tuning` that change where an adapter is tuned, but not what it learns."""

    gpus: int = setting(
        1, "GPUs that training requests ([more](../stages/tuning.md#several-gpus)); `0` trains on the CPU", at_least=0,
        expected="a number of GPUs",
    )  # fmt: skip
    fsdp: str | None = setting(
        None, "`config/accelerate/fsdp.yaml`, or your own: divides a model that does not fit on one GPU",
        expected="an accelerate configuration file or null",
    )  # fmt: skip
    checkpoint_minutes: float = setting(
        10, "minutes between checkpoints; one is also saved when training is stopped", above=0
    )
    report_to: Literal["none", "tensorboard"] = setting(
        "none", "`tensorboard` writes its logs to `results/logs/{lang}/adapter.tensorboard`"
    )


@dataclass(frozen=True)
class EvaluatedFile:
    """The key of `evaluation` for files of llama.cpp."""

    gguf: Quantization = setting(
        "f16", "with `llama_cpp`, the exported form of the base model that answers, as it is and with the adapter",
    )  # fmt: skip


@dataclass(frozen=True)
class Harness:
    """Keys of `evaluation` for the lm-evaluation-harness."""

    harness: list[str] = setting(
        [],
        "tasks of the [lm-evaluation-harness](https://github.com/EleutherAI/lm-evaluation-harness), such as "
        "`belebele_nld_Latn`, or YAML files in its format ([more](../stages/evaluation.md#benchmarks))",
        expected="a list of tasks",
    )
    benchmarks: Literal["auto"] | None = setting(
        None,
        "`auto`: also measure the language's benchmarks of `config/benchmark_tasks.tsv`, with their English partners "
        "([more](../stages/evaluation.md#benchmarks)); `scripts/benchmarks.py nl` lists them",
        expected="auto or null",
    )
    harness_limit: int | None = setting(None, "examples of each task at most; `null`: all", at_least=1)


@dataclass(frozen=True)
class Against:
    """The key of `judge` for other adapters."""

    against: list[str] = setting(
        [], "variants whose adapters' answers are compared with the adapter's, too", expected="names of variants",
        schema={"uniqueItems": True},
    )  # fmt: skip


@dataclass(frozen=True)
class Publication:
    """Keys of `publication`."""

    namespace: str | None = setting(
        None, "owner of the repositories on the hub ([more](../stages/publishing.md)): your name, or an organisation's",
        schema={"pattern": _HUB_NAME}, expected="a user's or an organisation's name on the hub, or null",
    )  # fmt: skip
    private: bool = setting(
        True, "whether new repositories are private; existing ones keep their visibility, and public ones are refused"
    )
    name: str | None = setting(
        None,
        "name for the repositories instead of the source dataset's; in an adapter's it follows the base model's",
        schema={"pattern": _HUB_NAME, "maxLength": 64},
        expected="a name of letters, digits, dots and hyphens, or null",
    )
    existing: bool = setting(
        False,
        "publish also in an existing repository that this workflow did not make, or made from other data",
    )


@dataclass(frozen=True)
class Exports:
    """Keys of `export` that choose the files."""

    gguf: list[Quantization] = setting(
        ["q4_k_m", "q8_0"],
        "GGUF files that `export/README.md` includes, the first for Ollama: `f16`, `q8_0`, `q6_k`, `q5_k_m`, `q5_k_s`, "
        "`q4_k_m`, `q4_k_s`, `q4_0`, `q3_k_m`, `q2_k`",
        schema={"minItems": 1, "uniqueItems": True},
        expected="a list of f16, q8_0, q6_k, q5_k_m, q5_k_s, q4_k_m, q4_k_s, q4_0, q3_k_m, q2_k",
    )
    adapter_gguf: bool = setting(
        True,
        "whether `export/README.md` includes `adapter.gguf`, and `base/` with the base model that it is applied to (as "
        "large as the merged one); `false` if the adapter adapts a mixture's experts: llama.cpp has no such adapters",
    )
    packed: list[Packed] = setting(
        [],
        "4-bit weights for servers with GPUs that `export/README.md` includes: `gptq`, `awq` "
        "([more](../stages/exporting.md))",
        schema={"uniqueItems": True}, expected="a list of gptq, awq; [] for none",
    )  # fmt: skip


# The groups of the configuration by their keys, in the manual's order.
GROUPS: Mapping[str, tuple[type, ...]] = {
    "source": (Dataset, FormatSettings, FetchSettings, Languages, LimitSettings, Shards),
    "translation": (Engines, EngineSettings, EndpointModel, ServedModel, EndpointSettings),
    "teacher": (TeacherSettings, TaughtPreferences, EndpointModel, ServedModel, EndpointSettings),
    "quality": (QualityLimits, FlaggedSettings),
    "review": (ReviewSettings,),
    "threads": (ThreadSettings, Prompts),
    "preferences": (PreferenceSettings,),
    "contamination": (Contamination,),
    "mix": (Mix, MixSettings),
    "tuning": (BaseModel, TuningSettings, DataSettings, Methods, Machine),
    "evaluation": (EvaluationSettings, QuantizationSettings, ServerSettings, EvaluatedFile, Harness),
    "judge": (JudgeSettings, Against, EndpointModel, ServedModel, EndpointSettings),
    "publication": (Publication,),
    "export": (MergeSettings, Exports, CalibrationSettings),
}
# The keys of `source` that a source of `sources` does not share with `source`, with their defaults there.
OF_ONE_DATASET: Mapping[str, Any] = {
    "dataset": None,
    "revision": None,
    "configuration": None,
    "split": None,
    "licence": "",
    "format": "auto",
    "columns": {},
    "language": None,
}
_SOURCES = (
    "several datasets by name, instead of that of `source`: each has the keys of `source`, and takes `scope`, "
    "`validation`, `languages`, `limits`, `shards` and `unreadable` from there if it has none "
    "([more](../stages/source.md#several-sources))"
)
_DOUBLES = (
    "leave out near-duplicates among the conversations of all sources: `{threshold: 0.8, keep: best}` "
    "([more](../stages/threads.md#duplicates-and-contamination))"
)
_VARIANTS = (
    "targets for more adapters from the same data, each with its own `tuning` values "
    "([more](../stages/tuning.md#several-adapters-side-by-side))"
)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the configuration. It refuses unknown keys everywhere."""
    whole = schema_of([Results])
    properties = whole["properties"] | {name: schema_of(group) for name, group in GROUPS.items()}
    properties["sources"] = {
        "type": "object",
        "propertyNames": {
            "pattern": r"^(?!(?:shards|benchmarks|native|translated|replay|all)$)[a-z0-9][a-z0-9_-]*$(?!\n)",
            "maxLength": 40,
            "description": "a name of small letters, digits, _ and -; taken are shards, benchmarks, native, "
            "translated, replay and all",
        },
        "additionalProperties": schema_of(GROUPS["source"], required=False) | {"required": ["dataset"]},
    }
    properties["duplicates"] = _DUPLICATES
    properties["variants"] = {
        "type": "object",
        "propertyNames": {
            "pattern": r"^[A-Za-z0-9][A-Za-z0-9_.-]*$(?!\n)",
            "maxLength": 100,
            "description": "a name of letters, digits, and _ . - after the first",
        },
        "additionalProperties": _variant_schema(),
    }
    return whole | {"properties": properties, "required": list(properties)}


def _variant_schema() -> dict[str, Any]:
    """Return the schema of a variant: any keys of tuning, and a mix of its own."""
    schema = schema_of(GROUPS["tuning"], required=False)
    return schema | {"properties": schema["properties"] | {"mix": schema_of(GROUPS["mix"], required=False)}}


def defaults() -> dict[str, Any]:
    """Return the defaults of all keys, which config/config.yaml shows."""
    return (
        defaults_of([Results])
        | {name: defaults_of(group) for name, group in GROUPS.items()}
        | {"sources": {}, "duplicates": None, "variants": {}}
    )


def tables() -> list[str]:
    """Return the manual's tables of all keys as lines of Markdown, each below a heading."""
    lines = _below("The top level", rows_of("", [Results]))
    for name, group in GROUPS.items():
        lines += _below(name, rows_of(name, group))
        if name == "source":
            several = [f"| `sources` | `{{}}` | {_SOURCES} |", f"| `duplicates` | `null` | {_DOUBLES} |"]
            lines += _below("sources and duplicates", several)
        if name == "tuning":
            lines += _below("variants", [f"| `variants` | `{{}}` | {_VARIANTS} |"])
    return lines


def _below(title: str, rows: list[str]) -> list[str]:
    return [f"## {title}", "", "| key | default | meaning |", "|---|---|---|", *rows, ""]
