"""Tests of hostile folders of models and adapters: none of their code runs, and no file outside of them is read.

Every program that takes a folder is run on a folder of each hostile kind, with `yes` on stdin and a hub token in its
environment. The code in the folders writes a mark file if it runs.
"""

import ast
import json
import os
import pickle
import re
import shutil
from pathlib import Path

import pytest
import yaml
from beside_models import write_inputs
from paths import ROOT
from pieces import save_pieces
from preloaded import Preloaded
from tiny_translation import save_bert, save_marian
from transformers import LlamaConfig, LlamaForCausalLM

from mothertongue.common.atomic_files import read_json, write_json

TOKEN, SECRET = "hf_canaryToken", "the content of another file"
SETTINGS = yaml.safe_load(Path("config/config.yaml").read_text())["tuning"]
SCRIPTS = sorted(Path("scripts").glob("*.py"))
# Scripts with an option for a model or an adapter that do not load its folder, and what they use instead.
NO_FOLDER = {
    "answer": "a model's record; one that it serves is checked as for translate",
    "combine": "models' records",
    "export_card": "an adapter's record",
    "gguf_perplexity": "a GGUF file",
    "judge": "a model's record, and the checksum of an adapter",
    "quantize": "a GGUF file",
    "report": "models' and adapters' records",
    "show": "no model at all: the folder of a run",
    "routes": "no model at all",
    "summary": "no model at all: a template of HTML",
    "list_opus_models": "models' names",
}
# The foreign folders of each program, and its arguments, in which {name} stands for a folder or file.
PROGRAMS = {
    "calibrate": ("merged adapter", "--model {merged} --adapter {adapter} --threads {threads} --form gptq --sequences 2 --length 64 --steps 0 --name Portuguese"),
    "calibrated_perplexity": ("packed", "--model {packed} --tokens {tokens}"),
    "calibrate_quality": ("encoder", "--source {english} --from en --reference {portuguese} --to pt --meaning labse --meaning-model {encoder} --workers 1 --json {out}"),
    "chat": ("adapter base", "--adapter {adapter} --base-model {base} --max-new-tokens 2 --batch {prompts}"),
    "check_conversion": ("base", "--base-model {base}"),
    "check_conversion of an adapter": ("base", "--base-model {base} --lora-targets all-linear"),
    "check_shapes": ("base", "--base-model {base} --form gptq"),
    "compare_engines": ("source", "llm={source} --source {english} --from en --reference {portuguese} --to pt --models {out}.models --workers 1 --allow-noncommercial --json {out}"),
    "convert_to_gguf": ("merged", "--folder {merged}"),
    "convert_to_gguf of an adapter": ("adapter base", "--folder {adapter} --base-model {base}"),
    "evaluate": ("adapter sft base", "--adapter {adapter} --sft-adapter {sft} --base-model {base} --threads {threads} --dataset {dataset} --train-threads {train} --target pt --name Portuguese --max-new-tokens 2 --count 2 --thread-count 2"),
    "fetch_base_model": ("source", "--model {source}"),
    "fetch_chat_template": ("source", "--templates config/templates --model {source}"),
    "fetch_estimator": ("encoder", "--model {encoder}"),
    "fetch_served_model": ("source", "--model {source} --serve vllm"),
    "fetch_translation_model": ("source", "--engine llm --model {source} --allow-noncommercial"),
    "fetch_translation_model of OPUS-MT": ("marian", "--engine opus-mt --model {marian}"),
    "harness": ("adapter base", "--adapter {adapter} --base-model {base} --tasks none --data {out}.data"),
    "llama_factory": ("base", "--settings {settings} --base-model {base} --base-name base --train {threads} --validation {threads} --template {base}"),
    "axolotl_dpo": ("base", "--settings {settings} --base-name base --before adapter --train {pairs} --validation {pairs} --template {base}"),
    "mix": ("base", "--threads {threads} --dataset {dataset} --base-model {base} --template {base} --accounting {out}.json"),
    "merge": ("adapter base", "--adapter {adapter} --base-model {base} --name Portuguese"),
    "other_trainers": ("base", '--settings {settings} --base-model base --train {threads} --validation {threads} --template {base}'),
    "perplexity": ("adapter base merged", "--adapter {adapter} --base-model {base} --merged {merged} --threads {threads} --tokens {out}.tokens"),
    "pivot": ("base", "--shard {shard} --source pt --engine llm --model {base} --source-code Portuguese --target-code English"),
    "publish": ("adapter", "adapter --folder {adapter} --repo a/b --target pt --name Portuguese --dataset-card {card} --dataset-repo a/c --dry-run"),
    "serve": ("adapter base", "--adapter {adapter} --base-model {base} --port 0 --check"),
    "threads": ("base", "--dataset {dataset} --template {base} --accounting {out}.json"),
    "translate": ("base", "--shard {shard} --source en --target pt --engine llm --model {base} --source-code English --target-code Portuguese"),
    "tune": ("base", "--data {threads} --base-model {base} --template {base} --target pt --name Portuguese --max-steps 1 --lora-rank 2"),
    "tune of preferences": ("adapter base", "--method dpo --data {pairs} --base-model {base} --adapter {adapter} --template {base} --target pt --name Portuguese --max-steps 1"),
    "write_modelfile": ("adapter", "--adapter {adapter} --gguf f16.gguf"),
}  # fmt: skip

CODE, FOR_CONVERTERS = "code", "code for llama.cpp's converters"
# The error for a folder of each kind that is refused. Code that transformers does not need for the model is ignored.
KINDS = {
    CODE: "",
    "code that is needed": "code of its own",
    FOR_CONVERTERS: "",
    "an adapter inside": "there is an adapter in it",
    "a link": "leads out of the folder",
    "weights elsewhere": "only plain names",
    "a pickle": "safetensors|more than tensors|is missing",
}
ADAPTER_KINDS = (CODE, "code that is needed", "a link", "a pickle")
REFUSED = ("code that is needed", "a link", "weights elsewhere")


class Marking:
    """An object that writes a mark file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def change(path, **values):
    write_json(path, (read_json(path) if path.exists() else {}) | values)


def spoil(folder, kind, place):
    """Change a folder into one of a hostile kind; code in it writes its mark file in `place`/marks."""
    code = f"from pathlib import Path\nPath({str(place / 'marks' / 'local')!r}).touch()\nclass T: pass\n"
    tokenizer, config = folder / "tokenizer_config.json", folder / "config.json"
    if "code" in kind:
        (folder / "extra.py").write_text(code)
        (folder / "custom_generate").mkdir()
        (folder / "custom_generate" / "generate.py").write_text(code)
        (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Marking(place / "marks" / "pickle"), protocol=2))
        change(folder / "video_preprocessor_config.json", auto_map={"AutoProcessor": "extra.T"})
        change(tokenizer, auto_map={"AutoTokenizer": [None, "extra.T"]})
    if kind == CODE:
        change(tokenizer, auto_map={"AutoTokenizer": [None, "owner/code--extra.T"]})
    if kind in (CODE, "code that is needed") and config.exists():
        change(config, auto_map={"AutoConfig": "extra.T", "AutoModelForCausalLM": "extra.T"})
    if kind == "code that is needed":
        change(tokenizer, tokenizer_class="T")
        if config.exists():
            change(config, model_type="unheard-of")
    if kind == FOR_CONVERTERS:
        change(config, architectures=["LLaDAModelLM"])
    if kind == "an adapter inside":
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(place / "adapter" / name, folder)
    if kind == "a link":
        (folder / "x_processor_config.json").symlink_to(place / "secret.json")
    if kind == "weights elsewhere":
        weights, elsewhere = folder / "model.safetensors", folder.parent / "elsewhere"
        elsewhere.mkdir()
        shutil.copy(weights, elsewhere)
        weights.unlink()
        weight_map = dict.fromkeys(["model.norm.weight", "lm_head.weight"], "../elsewhere/model.safetensors")
        write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    if kind == "a pickle":
        for path in [*folder.glob("*.safetensors")]:
            path.unlink()
        for name in ("pytorch_model.bin", "adapter_model.bin"):
            (folder / name).write_bytes(pickle.dumps(Marking(place / "marks" / "pickle"), protocol=2))


def inputs(place):
    write_inputs(place, "Olá?\n")
    for name, text in (
        ("english", "Hello there.\nGood night.\n"),
        ("portuguese", "Olá.\nBoa noite.\n"),
        ("card", "---\nlicense: mit\n---\n"),
    ):
        (place / name).write_text(text, encoding="utf-8")
    (place / "yes").write_text("yes\n" * 10_000)
    (place / "secret.json").write_text(json.dumps({"secret": SECRET}))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with harmless models, adapters and inputs, a hub cache with hostile code, and no marks yet."""
    place = tmp_path_factory.mktemp("hostile")
    (place / "marks").mkdir()
    inputs(place)
    # Its tokenizer is one that llama.cpp's converters support.
    (place / "source").mkdir()
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    tokens = save_pieces(place / "source", "chatml", legacy=True)
    LlamaForCausalLM(LlamaConfig(vocab_size=tokens, max_position_embeddings=1024, **sizes)).save_pretrained(
        place / "source"
    )
    shutil.copy("config/templates/chatml.jinja", place / "source" / "chat_template.jinja")
    (place / "marian").mkdir()
    save_marian(place / "marian")
    (place / "encoder").mkdir()
    save_bert(place / "encoder")
    code = place / "home" / "hub" / "models--owner--code"
    for name, text in (
        ("refs/main", "0" * 40),
        (
            f"snapshots/{'0' * 40}/extra.py",
            f"from pathlib import Path\nPath({str(place / 'marks' / 'hub')!r}).touch()\nclass T: pass\n",
        ),
    ):
        (code / name).parent.mkdir(parents=True)
        (code / name).write_text(text)
    return place


@pytest.fixture(scope="module")
def preloaded(place):
    settings = {"HF_HOME": str(place / "home"), "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    settings |= {"AR_LOG_LEVEL": "ERROR", "AR_WORK_SPACE": str(place / "auto_round"), "TOKENIZERS_PARALLELISM": "false"}
    modules = "torch transformers.models.llama.modeling_llama transformers.models.auto.modeling_auto transformers.trainer peft trl bitsandbytes auto_round matplotlib.pyplot pyarrow.parquet"
    preloaded = Preloaded(modules.split(), os.environ | settings)
    yield preloaded
    preloaded.close()


@pytest.fixture(scope="module")
def run(place, preloaded):
    """Return a function that runs a program of PROGRAMS with other folders, and returns its exit code and output."""
    count = iter(range(10_000))

    def run(program, **folders):
        out = place / f"out{next(count)}"
        names = {path.name.partition(".")[0]: path for path in place.iterdir()}
        names |= {
            "adapter": place / "adapter",
            "base": place / "base",
            "sft": place / "adapter",
            "merged": place / "merged",
        }
        names |= {"packed": place / "packed", "out": out, "settings": json.dumps(SETTINGS)} | folders
        arguments = [word.format_map(names) for word in PROGRAMS[program][1].split()]
        if not {"{out}", "--json", "--dry-run", "--check"} & set(arguments):
            arguments += ["--output", str(names.get("to", out))]
        code, said = preloaded.run(
            ROOT / "scripts" / f"{program.split()[0]}.py",
            *arguments,
            stdin=place / "yes",
            output=place / f"{out.name}.said",
        )
        written = [path for path in place.glob(f"{out.name}*") if path.suffix != ".said"]
        found = [path for top in written for path in (top.rglob("*") if top.is_dir() else [top]) if path.is_file()]
        assert not any(SECRET.encode() in path.read_bytes() for path in found), said
        for path in written:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return code, said

    return run


@pytest.fixture(scope="module")
def made(place, run):
    """Return the folder with the harmless adapter and models, made by the programs themselves."""
    for program, name in (
        ("fetch_base_model", "base"),
        ("tune", "adapter"),
        ("merge", "merged"),
        ("calibrate", "packed"),
    ):
        code, said = run(program, to=place / name)
        assert code == 0, said
    return place


def cases():
    for program, (folders, _) in PROGRAMS.items():
        for folder in folders.split():
            converters = "conver" in program and folder not in ("adapter", "marian")
            for kind in ADAPTER_KINDS if folder in ("adapter", "sft") else KINDS:
                # Converters are tried with FOR_CONVERTERS instead of CODE: code that they load in their own way.
                if kind == (CODE if converters else FOR_CONVERTERS):
                    continue
                # compare_engines uses the functions of other programs, which are tried with all kinds: two are enough.
                if program != "compare_engines" or kind in (CODE, "a link"):
                    yield pytest.param(program, folder, kind, id=f"{program}-{folder}-{kind}")


@pytest.mark.parametrize(("program", "folder", "kind"), cases())
def test_no_code_of_a_hostile_folder_runs(made, run, tmp_path, program, folder, kind):
    hostile = made / "hostile" / folder
    shutil.rmtree(hostile.parent, ignore_errors=True)
    shutil.copytree(made / ("adapter" if folder == "sft" else folder), hostile, symlinks=True)
    spoil(hostile, kind, made)
    code, said = run(program, **{folder: hostile})
    assert not list((made / "marks").iterdir()), said
    assert TOKEN not in said and "Do you wish to run" not in said
    assert said.count(".py: error: ") == code and code in (0, 1), said
    # The last lines of a failing converter are printed, and may contain a traceback.
    assert "Traceback" not in said or kind == FOR_CONVERTERS, said
    if program == "harness" and "not installed" in said:
        return
    assert code == 0 or (kind != CODE and re.search(KINDS[kind], said)), said
    assert code or program == "publish" or kind not in REFUSED, said


def test_every_program_that_takes_a_folder_is_covered():
    taking = set()
    for path in SCRIPTS:
        source = path.read_text(encoding="utf-8")
        options = [
            node.args[0].value
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument" and node.args
            if isinstance(node.args[0], ast.Constant)
        ]
        named = [
            option
            for option in options
            if any(part in option for part in ("model", "adapter", "folder", "template", "merged", "engine"))
        ]
        if named or "add_engine_arguments" in source:
            taking.add(path.stem)
    assert taking == {program.split()[0] for program in PROGRAMS} | set(NO_FOLDER)
