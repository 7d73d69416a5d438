"""Start vLLM's or llama.cpp's server with an adapter."""

import atexit
import json
import shutil
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mothertongue.common import gpus
from mothertongue.common.errors import UserError
from mothertongue.common.hardware import cores
from mothertongue.common.progress import log
from mothertongue.endpoints.child import HOST, LLAMA_CPP, Child, find_program, options_of
from mothertongue.formats.votes import SIDES
from mothertongue.model_folders import contents
from mothertongue.model_folders.gguf_header import check_gguf
from mothertongue.model_folders.reading import ADAPTER_WEIGHTS, check_adapter, embedding_rows
from mothertongue.model_folders.safetensors_header import read_header
from mothertongue.models import causal_lm
from mothertongue.models.answering import Decoding
from mothertongue.models.tokenizer_files import load_with_template
from mothertongue.serving.asking import Asking
from mothertongue.serving.forwarding import VLLM, Forwarding, LlamaCpp

# Requests that a server answers at once: for each, llama.cpp keeps the memory of a window.
AT_ONCE = {"vllm": 16, "llama_cpp": 4}
# The same where nobody waits for the first words: vLLM keeps as many in the GPU's memory as have room; and the tokens
# that it sends together.
_MANY_AT_ONCE, _MANY_TOKENS = {"vllm": 256, "llama_cpp": 4}, 32
# vLLM's limits of ranks.
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
# What vLLM does not apply, or not in all of its versions; scripts/tune.py makes DoRA, and adapts experts, on request.
_NOT_IN_VLLM = {
    "use_dora": "DoRA",
    "modules_to_save": "modules_to_save",
    "lora_bias": "lora_bias",
    "layer_replication": "layer_replication",
    "target_parameters": "target_parameters (experts)",
    "alora_invocation_tokens": "aLoRA",
    "trainable_token_indices": "trainable_token_indices",
    "rank_pattern": "rank_pattern",
    "alpha_pattern": "alpha_pattern",
    "fan_in_fan_out": "fan_in_fan_out",
}
_LINEAR = (".lora_A.weight", ".lora_B.weight")
_SAMPLE = "Hello, 123 world!"
_TIMEOUT = 30.0


# llama.cpp's files: the base model and the adapter, or the merged model and None.
Files = tuple[Path | None, Path | None]


@dataclass(frozen=True)
class Plan:
    """What is known about a server: its program and options, requests at once and waiting, and the window.

    `output` is the file for what the server prints, a temporary one where there is none; `seed` is of requests without
    one; `together` are the tokens that vLLM sends together.
    """

    program: str | None
    options: Sequence[str]
    at_once: int
    waiting: int
    window: int
    output: Path | None
    seed: int
    together: int = 1

    @property
    def most(self) -> int:
        """The requests that are answered or wait."""
        return self.at_once + self.waiting


def plan_for_many(
    engine: str,
    program: str | None,
    options: Sequence[str],
    window: int,
    seed: int,
    at_once: int | None = None,
    output: Path | None = None,
) -> Plan:
    """Return the plan of a server that answers many requests, for nobody who waits for the first words.

    `at_once` of them are answered at a time, and as many wait.
    """
    most = at_once or _MANY_AT_ONCE[engine]
    return Plan(program, options, most, most, window, output, seed, _MANY_TOKENS)


def choose(engine: str, adapter: Path, program: str | None, quantization: str) -> str:
    """Return what computes the answers: for `auto` vLLM where its program and a GPU are here, else transformers."""
    if engine != "auto":
        return engine
    if quantization != "none" or not shutil.which(program or "vllm") or not gpus.query("name") or not gpus.visible():
        return "transformers"
    if why := objection(check_adapter(adapter), read_header(adapter / ADAPTER_WEIGHTS)[1]):
        log(f"serve: vLLM does not serve an adapter with {why}: transformers does, one request after the other")
        return "transformers"
    return "vllm"


def objection(config: Mapping[str, Any], names: Sequence[str] | Mapping[str, Any]) -> str:
    """Return what vLLM does not apply of an adapter with a configuration and weights of such names; empty for none."""
    if config.get("peft_type", "LORA") != "LORA":
        return str(config["peft_type"])
    strange = [what for name, what in _NOT_IN_VLLM.items() if config.get(name)]
    if config.get("bias", "none") != "none":
        strange.append("bias")
    if not strange and (other := next((name for name in names if not name.endswith(_LINEAR)), "")):
        strange.append(f"the weight '{other}'")
    if not strange and config.get("r", 8) > _RANKS[-1]:
        strange.append(f"a rank of {config['r']}, above {_RANKS[-1]},")
    return ", ".join(strange)


def vllm_command(base: Path, adapters: Mapping[str, Path], rank: int, plan: Plan, window: int, port: int) -> list[str]:
    """Return the command that serves a base model and adapters, by name, by vLLM. Raise UserError without the program.

    `rank` is the highest of the adapters.
    """
    named = {
        "served-model-name": "base",
        "max-lora-rank": next(limit for limit in _RANKS if rank <= limit),
        "max-model-len": window,
        "max-num-seqs": plan.at_once,
        # Requests say how an answer is chosen, not the model's folder.
        "generation-config": "vllm",
        "stream-interval": plan.together,
        "host": HOST,
        "port": port,
    }
    program = find_program(plan.program or "vllm", "--program")
    modules = [f"{name}={adapter.resolve()}" for name, adapter in adapters.items()]
    return [program, "serve", str(base), "--enable-lora", "--lora-modules", *modules, *options_of(named), *plan.options]


def llama_cpp_command(gguf: Path, lora: Path | None, plan: Plan, port: int) -> list[str]:
    """Return the command that serves GGUF files by llama.cpp. Raise UserError without the program."""
    if plan.options and not plan.program:
        raise UserError("--server-option needs llama.cpp's own program: --program llama-server")
    named = {
        "model": gguf,
        **({"lora": lora} if lora else {}),
        "alias": "adapter",
        "ctx-size": plan.window * plan.at_once,
        "parallel": plan.at_once,
        "threads": cores(),
        # What it has read of a prompt with the adapter, it would also take for the base model, and the reverse.
        "cache-ram": 0,
        "host": HOST,
        "port": port,
    }
    program = [find_program(plan.program, "--program")] if plan.program else list(LLAMA_CPP)
    return [*program, *options_of(named), *plan.options]


def start(
    engine: str,
    adapter: Path,
    base: Path | None,
    ggufs: Files,
    speaks: Callable[[Path, int | None], Asking],
    plan: Plan,
    more: Mapping[str, Path] = MappingProxyType({}),
) -> Forwarding:
    """Start the server of an engine; see `start_vllm` and `start_llama_cpp`."""
    if engine == "vllm":
        return start_vllm(adapter, base, speaks, plan, more)
    if more:
        raise UserError(f"llama_cpp answers for one adapter, not for {', '.join(more)}, too: take vllm or transformers")
    return start_llama_cpp(adapter, *ggufs, speaks, plan)


def start_vllm(
    adapter: Path,
    base: Path | None,
    speaks: Callable[[Path, int | None], Asking],
    plan: Plan,
    more: Mapping[str, Path] = MappingProxyType({}),
) -> Forwarding:
    """Start vLLM's server; return the backend that asks it, for `adapter`, `base`, and `more` adapters by name.

    `speaks` returns what a model with so many tokens reads of requests, for the adapter's folder. Raise UserError where
    vLLM does not serve an adapter, or does not start.
    """
    folder = causal_lm.base_of(adapter, base)
    contents.check(folder)
    adapters = {"adapter": adapter, **more}
    rank = max(_rank_in_vllm(one) for one in adapters.values())
    window = min(plan.window, causal_lm.window_of(folder) or plan.window)
    asking = replace(speaks(adapter, embedding_rows(folder)), window=window)
    child = Child(
        "vllm",
        "adapter",
        lambda port: vllm_command(folder, adapters, rank, plan, window, port),
        plan.output,
    )
    models = (*adapters, "base")
    return _checked(child, lambda: Forwarding(child, asking, VLLM(asking.ends()), plan.most, plan.seed), models)


def _rank_in_vllm(adapter: Path) -> int:
    """Return the rank of an adapter. Raise UserError where vLLM does not serve it."""
    config = check_adapter(adapter)
    if why := objection(config, read_header(adapter / ADAPTER_WEIGHTS)[1]):
        raise UserError(
            f"{adapter}: vLLM does not serve an adapter with {why}; take --engine transformers, or serve the merged"
            " model (export/merged) by vLLM alone"
        )
    rank: int = config.get("r", 8)
    return rank


def start_llama_cpp(
    adapter: Path, gguf: Path | None, lora: Path | None, speaks: Callable[[Path, int | None], Asking], plan: Plan
) -> Forwarding:
    """Start llama.cpp's server with the base model and the adapter `lora`, or with the merged model without it.

    Raise UserError where the files are not such, or the server does not start; see `start_vllm` for the rest.
    """
    if gguf is None:
        raise UserError(
            "--engine llama_cpp needs --gguf: the base model (export/base/*.gguf) with --adapter-gguf"
            " (export/adapter.gguf), or the merged model (export/gguf/*.gguf)"
        )
    _check_files(adapter, gguf, lora)
    asking = speaks(adapter, None)
    child = Child("llama_cpp", "adapter", lambda port: llama_cpp_command(gguf, lora, plan, port), plan.output)

    def backend() -> Forwarding:
        sample = asking.tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"]
        said = _call(child, "/detokenize", {"tokens": sample})["content"]
        if said.strip() != _SAMPLE:
            raise UserError(f"{gguf}: its tokenizer is not the adapter's: it is of another model")
        window = _call(child, "/props")["default_generation_settings"]["n_ctx"]
        rows = _call(child, "/v1/models")["data"][0]["meta"]["n_vocab"]
        found = replace(asking, window=window, rows=rows)
        return Forwarding(child, found, LlamaCpp(asking.ends(), lora is not None), plan.most, plan.seed)

    return _checked(child, backend, models_of(lora))


def models_of(lora: Path | None) -> tuple[str, ...]:
    """Return the models of llama.cpp's server: a merged model has no base model to compare with."""
    return SIDES if lora else ("adapter",)


def asking(system_prompt: str, decoding: Decoding) -> Callable[[Path, int | None], Asking]:
    """Return a function that returns what a model reads, for an adapter's folder and the tokens that it knows."""

    def speaks(adapter: Path, rows: int | None) -> Asking:
        tokenizer, template = load_with_template(adapter, rows)
        return Asking(tokenizer, template, system_prompt, decoding, rows=rows)

    return speaks


def _checked(child: Child, backend: Callable[[], Forwarding], models: Sequence[str]) -> Forwarding:
    """Return the backend of a server that is started and answers; end it where it does not."""
    atexit.register(child.stop)
    try:
        child.start()
        made = backend()
        made.check(models)
    except BaseException:
        child.stop()
        raise
    return made


def _check_files(adapter: Path, gguf: Path, lora: Path | None) -> None:
    """Raise UserError where files are no GGUF, or not the ones that belong together; warn of old ones."""
    for path in (gguf, lora):
        if path:
            check_gguf(path)
    # The folders are those of the export; files elsewhere are the user's to know.
    place = gguf.absolute().parent
    if place.name == "base" and place.parent.name == "export" and not lora:
        raise UserError(f"{gguf} is the base model alone; give --adapter-gguf {place.parent / 'adapter.gguf'}, too")
    if place.name == "gguf" and place.parent.name == "export" and lora:
        raise UserError(f"{gguf} has the adapter in it already; leave out --adapter-gguf, or take export/base")
    trained = (adapter / ADAPTER_WEIGHTS).stat().st_mtime if (adapter / ADAPTER_WEIGHTS).is_file() else 0.0
    if (own := lora or gguf).stat().st_mtime < trained:
        log(f"serve: warning: {own} is older than the adapter: export it again, if it was tuned since")


def _call(child: Child, path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Return what llama.cpp's server answers to a question about itself. Raise UserError where it does not."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {child.key}", "Content-Type": "application/json"}
    request = urllib.request.Request(child.url.removesuffix("/v1") + path, content, headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT) as response:
            return json.load(response)
    except (OSError, ValueError) as error:
        child.check()
        raise UserError(f"llama.cpp's server does not tell {path} ({error}); take a newer one") from None
