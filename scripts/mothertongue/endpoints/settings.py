"""Settings of an endpoint: keys `endpoint` of several groups, and arguments of the scripts that ask one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mothertongue.common import settings
from mothertongue.common.settings import setting

# The hub's token is taken from programs that do not use the hub.
_VARIABLE = r"^(?!HF_TOKEN$|HUGGING_FACE_HUB_TOKEN$)[A-Za-z_][A-Za-z0-9_]*(?:KEY|TOKEN)$(?!\n)"


@dataclass(frozen=True)
class EndpointSettings:
    """A server with OpenAI's interface for chat (`POST {url}/chat/completions`), and what it may cost.

    The key is never a setting: `endpoint_key_variable` names the environment variable that has it. Prices are per
    million tokens, in the currency of `endpoint_max_cost`.
    """

    endpoint_url: str | None = setting(
        None, "address of the server, up to /v1", key="endpoint.url", group="the endpoint",
        manual="address of a server with OpenAI's interface, such as `http://localhost:8000/v1`",
    )  # fmt: skip
    endpoint_serve: Literal["vllm", "llama_cpp"] | None = setting(
        None, "start a server for this job: vllm or llama_cpp, with the fetched model", key="endpoint.serve",
        group="the endpoint", expected="vllm, llama_cpp or null",
        manual="in the place of `url`: each job starts a server of its own with the model, which is fetched first: "
        "`vllm` on its GPU, or `llama_cpp` ([more](../endpoints.md#a-server-in-each-job))",
    )  # fmt: skip
    endpoint_serve_program: str | None = setting(
        None, "the server's program", key="endpoint.serve_program", group="the endpoint", schema={"minLength": 1},
        manual="the server's program: `/opt/vllm/bin/vllm`, or llama.cpp's `llama-server`; `null`: `vllm`, and the "
        "server of the package xllamacpp",
    )  # fmt: skip
    endpoint_serve_options: list[str] = setting(
        [], "more options of the server's program", key="endpoint.serve_options", group="the endpoint",
        manual="more options of the server's program, such as `[--dtype=bfloat16]`", expected="a list of options",
    )  # fmt: skip
    endpoint_serve_gpus: int = setting(
        1, "GPUs that vLLM divides the model over", key="endpoint.serve_gpus", group="the endpoint", at_least=0,
        manual="GPUs of each job with `serve: vllm`, over which the model is divided; `0`: on the CPU",
    )  # fmt: skip
    endpoint_key_variable: str = setting(
        "ENDPOINT_API_KEY", "the environment variable that has the key; not set: none is sent",
        key="endpoint.key_variable", group="the endpoint", schema={"pattern": _VARIABLE},
        expected="the name of an environment variable that ends in KEY or TOKEN, not of the hub's token",
    )  # fmt: skip
    endpoint_allow_http: bool = setting(
        False, "send text and key unencrypted to another machine", key="endpoint.allow_http", group="the endpoint",
        manual="allows `http://` to another machine: text and key are sent unencrypted",
    )  # fmt: skip
    endpoint_concurrency: int = setting(
        16, "requests at once", key="endpoint.concurrency", group="the endpoint", at_least=1,
        manual="requests at once, of each job",
    )  # fmt: skip
    endpoint_timeout: float = setting(
        300.0, "seconds to wait for an answer before the request is sent again", key="endpoint.timeout",
        group="the endpoint", above=0,
    )  # fmt: skip
    endpoint_window: int = setting(
        8192, "tokens that the model can read and write at once", key="endpoint.window", group="the endpoint",
        at_least=2048,
    )  # fmt: skip
    endpoint_body: str | None = setting(
        None, "JSON object that is laid over each request's body; null in it removes a key", key="endpoint.body",
        group="the endpoint",
        manual="a JSON object that is laid over each request's body, in quotes, for what a server or model needs: "
        "`'{\"reasoning_effort\": \"low\"}'`; `null` in it removes a key: `'{\"temperature\": null}'`",
    )  # fmt: skip
    endpoint_max_requests: int | None = setting(
        None, "requests that may be sent", key="endpoint.max_requests", group="the endpoint", at_least=1,
        manual="requests that all jobs together may send, earlier runs included; `null`: no limit",
    )  # fmt: skip
    endpoint_max_tokens: int | None = setting(
        None, "tokens that may be read and written", key="endpoint.max_tokens", group="the endpoint", at_least=1,
        manual="tokens that the model may read and write for all jobs together, earlier runs included; `null`: no "
        "limit",
    )  # fmt: skip
    endpoint_max_cost: float | None = setting(
        None, "money that may be spent, by the prices", key="endpoint.max_cost", group="the endpoint", above=0,
        manual="money that all jobs together may spend by the prices below, earlier runs included; `null`: no limit",
    )  # fmt: skip
    endpoint_price_input: float = setting(
        0.0, "price of a million tokens that the model reads", key="endpoint.price_input", group="the endpoint",
        at_least=0,
    )  # fmt: skip
    endpoint_price_output: float = setting(
        0.0, "price of a million tokens that the model writes", key="endpoint.price_output", group="the endpoint",
        at_least=0,
    )  # fmt: skip


@dataclass(frozen=True)
class EndpointModel:
    """The model of an endpoint, as recorded beside what it writes."""

    name: str | None = setting(
        None, "what the server calls the model", key="endpoint.model", schema={"minLength": 1},
        manual="what the server calls the model; with `serve` a model reference",
    )  # fmt: skip
    licence: str | None = setting(
        None, "the licence of what the model writes, for the cards", key="endpoint.licence",
        manual="the licence, or terms of use, of what the model writes, for the cards; `null`: not stated",
    )  # fmt: skip


@dataclass(frozen=True)
class ServedModel:
    """The files of a model that jobs serve."""

    file: str | None = setting(
        None, "pattern of the GGUF file's name, where there are several", key="endpoint.serve_file",
        schema={"minLength": 1},
        manual="with `serve: llama_cpp`, which GGUF file of the model, where there are several: `'*Q4_K_M*.gguf'`",
    )  # fmt: skip


def add_arguments(parser: Any) -> None:
    """Add the arguments of a program that asks an endpoint: its settings, and the files for answers and costs."""
    settings.add_arguments(parser, EndpointSettings)
    parser.add_argument(
        "--answers",
        type=Path,
        help="a .jsonl file that keeps an endpoint's answers and what they cost; the others of its folder are read "
        "too, and count for the limits (default: none)",
    )
    parser.add_argument(
        "--usage",
        type=Path,
        help="JSON file for the requests, tokens and price of an endpoint, earlier tries included (default: none)",
    )
