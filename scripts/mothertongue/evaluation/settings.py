"""The settings of an evaluation: arguments of scripts/evaluate.py and harness.py, and keys of `evaluation`."""

from dataclasses import dataclass
from typing import Literal

from mothertongue.common.errors import UserError
from mothertongue.common.settings import setting


@dataclass(frozen=True)
class QuantizationSettings:
    """The quantisation of the base model in an evaluation."""

    quantization: Literal["auto", "nf4", "int8", "none"] = setting(
        "auto", "of the base model; auto: as the adapter was trained",
        manual="of the base model, with and without the adapter: `auto`: as the adapter was trained; `nf4`, `int8`, "
        "`none`",
    )  # fmt: skip


@dataclass(frozen=True)
class EvaluationSettings:
    """The size of an evaluation, and its seed."""

    count: int = setting(
        100, "prompts each side answers", key="prompts", at_least=1,
        manual="held-out prompts that each side answers ([more](../stages/evaluation.md)), half of them native "
        "where there are as many",
    )  # fmt: skip
    thread_count: int = setting(
        200, "held-out threads of a kind to read at most", key="threads", at_least=1,
        manual="held-out threads of each kind (native, translated, English) whose bits per byte are measured, at most",
    )  # fmt: skip
    examples: int = setting(
        3, "exchanges shown to the base model", at_least=0,
        manual="exchanges that the base model is shown on one of its sides; 0 leaves that side out",
    )  # fmt: skip
    max_new_tokens: int = setting(100, "longest answer in tokens", at_least=1)
    seed: int = setting(
        42, "draws prompts, threads, examples and intervals", at_least=0,
        manual="draws prompts, threads, examples, and the resamples of the intervals; answers are greedy",
    )  # fmt: skip


@dataclass(frozen=True)
class ServerSettings:
    """What computes the answers of an evaluation."""

    engine: Literal["transformers", "vllm", "llama_cpp"] = setting(
        "transformers", "what computes the answers: this process, or a server that it starts",
        manual="what computes the answers: `transformers`; `vllm`, many at once on a GPU; `llama_cpp`, from exported "
        "files ([more](../stages/evaluation.md#answers-by-a-server))",
    )  # fmt: skip
    program: str | None = setting(
        None, "vLLM's program, or llama.cpp's llama-server", schema={"minLength": 1},
        manual="the program of `engine`: `/opt/vllm/bin/vllm`, or llama.cpp's `llama-server`; `null`: `vllm`, and the "
        "server of the package xllamacpp",
    )  # fmt: skip
    server_option: list[str] = setting(
        [], "an option for that program; repeatable", key="server_options", expected="a list of options",
        manual="more options of that program, such as `[--gpu-memory-utilization=0.8]`",
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Raise UserError where there is a program, or options, and no engine that has one."""
        if self.engine == "transformers" and (self.program or self.server_option):
            raise UserError(
                "evaluation.engine is transformers, which has no program and no server_options; take another one"
            )
