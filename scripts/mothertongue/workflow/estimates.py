"""Estimated durations of jobs that have not run here yet, from the speeds in docs/performance.md.

An estimate is for the planning of a cluster's time: it should have the right order of magnitude. It scales two
measured speeds, one of translation and one of tuning, by the model's parameters and by the peak of the GPU. Rules whose
time depends on other things have none.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from mothertongue.endpoints.budget import Spent
from mothertongue.translation.routes import ENDPOINT, engine_settings
from mothertongue.workflow.dry_run import PlannedJob
from mothertongue.workflow.sources import Source, Sources

# The dataset of the default configuration: its mean length of a message in characters, and the share of its messages,
# of the whole project's in oasst1_messages.tsv, that the two splits have.
OASST1, _CHARACTERS_A_MESSAGE, _OASST1_SHARE = "OpenAssistant/oasst1", 500, 88_838 / 161_443
# Translation with CTranslate2 on the measured GPU and by one core, in characters of source a second, of a model of
# _TRANSLATED parameters; and the most that the Python around a fast model prepares and checks a second.
_MEASURED_GPU, _ON_GPU, _BY_A_CORE, _PYTHON = "h200", 1_100_000, 4_500, 225_000
_TRANSLATED = 75e6
# Firefox models run on CPUs only, and by a core.
_FIREFOX_BY_A_CORE = 4_000
# Parameters of the engines' usual models.
_PARAMETERS = {
    "opus-mt": 75e6,
    "m2m100": 418e6,
    "nllb": 600e6,
    "mbart50": 611e6,
    "seamless-m4t": 2.3e9,
    "madlad400": 3e9,
    "llm": 7e9,
}
# The share of that speed with which transformers generates, where CTranslate2 does not run the model: an assumption.
_GENERATED, _BY_TRANSFORMERS = 0.25, ("seamless-m4t", "llm")
# Tuning: the share of a GPU's peak that was reached with 6 operations a parameter and token, and operations a second of
# a core.
_SHARE_OF_PEAK, _OPERATIONS_OF_A_CORE = 0.12, 90e9
# The folder of an endpoint's model among the inputs of a job.
_OF_ENDPOINTS = re.compile(r"/models/(?:endpoints|served)/")
# Tokens of a request to an endpoint besides the message: what the model is told, and the turns before it. Characters of
# a token of English.
_PROMPT, _CHARACTERS_OF_ENGLISH = 500, 4.0
# Tokens of a judge's verdict with its reason.
_VERDICT = 80
# Characters of a token: of a language that a base model does not know well. Share of a source's text in its threads.
_CHARACTERS_A_TOKEN, _SHARE_IN_THREADS = 2.8, 0.29
# Of the OASST1 sample's threads: characters a reply, with the message that it answers; the shares of all characters
# that users wrote, and that stand before replies; characters of a user's message. Tokens that a teacher is told.
_CHARACTERS_A_REPLY, _BY_USERS, _BEFORE_REPLIES, _CHARACTERS_OF_USERS, _TAUGHT = 1290, 0.17, 0.46, 215, 200
# Seconds in which a job starts: packages are imported, a model is loaded.
_START = 15.0
# Seconds a million characters of rules that only read and write messages.
_A_MILLION = {"split": 0.06, "combine": 0.12, "threads": 0.12}
# What is downloaded a second, in MB: an assumption, as nobody knows the network.
_DOWNLOADED = 20


@dataclass(frozen=True)
class Estimator:
    """What estimates need: the configuration, characters of text by source and language, and peaks in TFLOP/s.

    `gpu` is the kind of GPU of jobs that name none; None where it is unknown. `cluster` is whether jobs run elsewhere:
    on this machine, jobs that request a GPU use the CPU where there is none.
    """

    config: Mapping[str, Any]
    characters: Mapping[str, Mapping[str, int]]
    peaks: Mapping[str, float]
    gpu: str | None
    cluster: bool

    @cached_property
    def _sources(self) -> Sources:
        return Sources(self.config)

    @cached_property
    def _text(self) -> int:
        """The characters of all sources; 0 where those of one are not known."""
        counts = [sum(self.characters[source.name].values()) for source in self._sources]
        return sum(counts) if all(counts) else 0

    def seconds(self, job: PlannedJob) -> float | None:
        """Return how long a job is expected to take; None where there is no figure for it."""
        if job.rule in ("pivot", "translate"):
            return self._translation(job)
        if job.rule == "tune":
            return self._tuning(job)
        if job.rule in _A_MILLION and self._text:
            return _START + _A_MILLION[job.rule] * self._text / 1e6
        return _START + job.disk_mb / _DOWNLOADED if job.rule.startswith("fetch") else None

    def endpoints(self, jobs: Iterable[PlannedJob]) -> dict[str, Spent]:
        """Return what jobs ask of the endpoints, by their groups: a request a message or reply, none a second time.

        That of translation is asked where it translates everything. Characters a token are those of English and of a
        language that a model does not know well.
        """
        engines = engine_settings(self.config["translation"])
        asked = engines if self.config["translation"]["engines"] else engines[:1]
        translates = any(one["engine"] == ENDPOINT for one in asked)
        spent = {"translation": Spent(), "teacher": Spent(), "judge": Spent()}
        for job in jobs:
            if not any(map(_OF_ENDPOINTS.search, job.inputs)):
                continue
            if job.rule in ("pivot", "translate") and translates:
                text = self._characters(job) * (_BY_USERS if self._taught else 1)
                requests = text / (_CHARACTERS_OF_USERS if self._taught else _CHARACTERS_A_MESSAGE)
                read = text / _CHARACTERS_OF_ENGLISH + requests * _PROMPT
                spent["translation"] += Spent(round(requests), round(read), round(text / _CHARACTERS_A_TOKEN))
            if job.rule == "answer":
                text = self._characters(job)
                replies = text / _CHARACTERS_A_REPLY
                read = text * _BEFORE_REPLIES / _CHARACTERS_A_TOKEN + replies * _TAUGHT
                written = text * (1 - _BY_USERS) / _CHARACTERS_A_TOKEN
                spent["teacher"] += Spent(round(replies), round(read), round(written))
            if job.rule == "judge":
                spent["judge"] += self._verdicts()
        return spent

    @property
    def _taught(self) -> bool:
        """Whether a teacher answers, and users' messages alone are translated."""
        return self.config["answers"] == "teacher" and not self.config["teacher"]["preferences"]

    def _characters(self, job: PlannedJob) -> float:
        """Return the characters of the messages of a shard; 0 where they are not known."""
        source, language = self._sources.by_name[job.wildcards["origin"].removesuffix("/")], job.wildcards["source"]
        share = _SHARE_IN_THREADS if source.keys["scope"] == "threads" else 1
        return share * self.characters[source.name].get(language, 0) / source.shards[language]

    def _verdicts(self) -> Spent:
        """Return the most that a job asks of a judge: every pair in both orders, none for a second time."""
        judge, longest = self.config["judge"], self.config["evaluation"]["max_new_tokens"]
        human, systems = 2 * judge["human_pairs"], judge["prompts"] * (len(judge["pairs"]) + len(judge["against"]))
        # A question of people has a message before it, and two replies; in the language and in English.
        read = human * (_PROMPT + round(3 * _CHARACTERS_A_MESSAGE / _CHARACTERS_A_TOKEN))
        read += systems * (_PROMPT + round(_CHARACTERS_A_MESSAGE / _CHARACTERS_A_TOKEN) + 2 * longest)
        return Spent(2 * (human + systems), 2 * read, 2 * (human + systems) * _VERDICT)

    def _translation(self, job: PlannedJob) -> float | None:
        source, language = self._sources.by_name[job.wildcards["origin"].removesuffix("/")], job.wildcards["source"]
        device = self._device(job)
        if language not in self.characters[source.name] or device is None:
            return None
        if any(map(_OF_ENDPOINTS.search, job.inputs)):
            return None
        if not any("/models/translation/" in path for path in job.inputs):
            return _START
        engines = engine_settings(self.config["translation"])
        # A fallback is asked for little; of two engines that both translate, each is asked for everything.
        asked = engines if self.config["translation"]["engines"] else engines[:1]
        seconds = sum(
            1 / self.translation_speed(one["engine"], device, job.threads, one["model"] or "") for one in asked
        )
        return _START + self._characters(job) * (_BY_USERS if self._taught else 1) * seconds

    def translation_speed(self, engine: str, device: str, threads: int, model: str = "") -> float:
        """Return characters of source a second, on "cpu" or a kind of GPU, by an engine's usual model or another."""
        if engine == "firefox":
            return _FIREFOX_BY_A_CORE * threads
        parameters = parameters_in_name(model) or _PARAMETERS[engine]
        scale = _TRANSLATED / parameters * (_GENERATED if engine in _BY_TRANSFORMERS else 1)
        if device == "cpu":
            return _BY_A_CORE * threads * scale
        alone = _ON_GPU * scale * self.peaks[device] / self.peaks[_MEASURED_GPU]
        return 1 / (1 / alone + 1 / _PYTHON)

    def _tuning(self, job: PlannedJob) -> float | None:
        variant = job.wildcards.get("variant", "").removeprefix("variants/").removesuffix("/")
        tuning = {**self.config["tuning"], **self.config["variants"].get(variant, {})}
        parameters, device = parameters_in_name(tuning["base_model"]), self._device(job)
        known = self._text or tuning["max_steps"]
        if tuning["method"] != "sft" or not parameters or not known or device is None:
            return None
        tokens = tuning["epochs"] * self._text * _SHARE_IN_THREADS / _CHARACTERS_A_TOKEN
        if tuning["max_steps"]:
            step = tuning["batch_size"] * tuning["accumulation"] * tuning["max_length"]
            tokens = tuning["max_steps"] * (tuning["target_tokens"] or step)
        if device == "cpu":
            speed = job.threads * _OPERATIONS_OF_A_CORE
        else:
            speed = max(job.gpus, 1) * _SHARE_OF_PEAK * self.peaks[device] * 1e12
        return _START + tokens * 6 * parameters / speed

    def _device(self, job: PlannedJob) -> str | None:
        """Return "cpu", or the job's kind of GPU; None where it is unknown."""
        if not job.gpus or (not self.cluster and self.gpu is None):
            return "cpu"
        return kind(job.gpu_model, self.peaks) or self.gpu


def kind(name: str, peaks: Mapping[str, float]) -> str | None:
    """Return the kind of GPU in a name such as "NVIDIA A100-SXM4-80GB" or "nvidia_h100"; None for one not in the table.

    It is a word of the name: an "RTX A4000" is no A40.
    """
    words = re.findall(r"[a-z0-9]+", re.sub(r"rtx[ _-](?=\d)", "rtx", name.lower()))
    return next((word for word in words if word in peaks), None)


def parameters_in_name(model: str) -> float | None:
    """Return the parameters that a model's name gives, such as 7e9 of "Llama-2-7b-chat-hf"; None without."""
    found = re.search(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([BbMm])(?![A-Za-z])", model.rpartition("/")[2])
    return float(found[1]) * {"b": 1e9, "m": 1e6}[found[2].lower()] if found else None


def characters(config: Mapping[str, Any], folder: Path, oasst1: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Return the characters of each source's messages by language, from what was fetched to `folder`, or of OASST1.

    `oasst1` has the project's messages by language. A source that is another dataset, and not there yet, has none.
    """
    return {source.name: _of_source(source, folder, oasst1) for source in Sources(config)}


def _of_source(source: Source, folder: Path, oasst1: Mapping[str, int]) -> dict[str, int]:
    messages = folder / f"{source.prefix}messages.parquet"
    counts: Mapping[str, int] = {}
    if messages.is_file():
        counts = _characters_in(messages)
    elif source.keys["dataset"] == OASST1:
        counts = {lang: round(count * _OASST1_SHARE * _CHARACTERS_A_MESSAGE) for lang, count in oasst1.items()}
    return {lang: counts[lang] for lang in source.shards if lang in counts}


def _characters_in(messages: Path) -> Counter[str]:
    """Return the characters of a dataset's messages by language; a batch is read at a time."""
    counts: Counter[str] = Counter()
    with pq.ParquetFile(messages) as file:
        for batch in file.iter_batches(columns=["lang", "text"]):
            lengths = pc.utf8_length(batch.column("text")).to_pylist()
            for lang, length in zip(batch.column("lang").to_pylist(), lengths, strict=True):
                counts[lang] += length or 0
    return counts
