"""Tests of damaged folders of models and adapters: every program ends with one line that names the damaged file.

Each kind of damage is tried with all programs that read the file: none may accept it or end with a traceback.
"""

import json
import shutil
import sys
import traceback
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from beside_models import write_inputs
from pieces import save_pieces
from safetensors.torch import load_file, save_file
from tiny_translation import save_bert, save_marian
from transformers import LlamaConfig, LlamaForCausalLM

from mothertongue.common import errors
from mothertongue.common.atomic_files import read_json, write_json
from mothertongue.models import tokenizer_files

TUNING = json.dumps(yaml.safe_load(Path("config/config.yaml").read_text())["tuning"])

# The files that each program reads of each folder, and its arguments, in which {name} stands for a folder or file.
# Files: c(onfiguration), w(eights), t(okenizer), s(ettings of the tokenizer only), r(ecord of the training), a(dapter),
# g(guf).
PROGRAMS = {
    "calibrate": ({"merged": "cwt", "adapter": "tr"}, "--model {merged} --adapter {adapter} --threads {threads} --form gptq --sequences 2 --length 64 --steps 0 --name Portuguese"),
    "calibrated_perplexity": ({"packed": "cw"}, "--model {packed} --tokens {tokens}"),
    "chat": ({"adapter": "tra", "base": "cw"}, "--adapter {adapter} --base-model {base} --max-new-tokens 2 --batch {prompts}"),
    "check_conversion": ({"base": "cwt"}, "--base-model {base}"),
    "check_conversion of an adapter": ({"base": "cw"}, "--base-model {base} --lora-targets all-linear"),
    "check_shapes": ({"base": "cw"}, "--base-model {base} --form gptq"),
    "convert_to_gguf": ({"merged": "cwt"}, "--folder {merged}"),
    "convert_to_gguf of an adapter": ({"adapter": "a", "base": "cw"}, "--folder {adapter} --base-model {base}"),
    "evaluate": ({"adapter": "tra", "base": "cw"}, "--adapter {adapter} --base-model {base} --threads {threads} --dataset {dataset} --train-threads {train} --target pt --name Portuguese --max-new-tokens 2 --count 2 --thread-count 2"),
    "fetch_base_model": ({"source": "cws"}, "--model {source}"),
    "fetch_base_model of a GGUF file": ({"gguf": "g"}, "--model {gguf}/f16.gguf"),
    "fetch_chat_template": ({"source": "t"}, "--templates config/templates --model {source}"),
    "fetch_estimator": ({"encoder": "cw"}, "--model {encoder}"),
    "fetch_served_model": ({"source": "cws"}, "--model {source} --serve vllm"),
    "fetch_served_model of a GGUF file": ({"gguf": "g"}, "--model {gguf}/f16.gguf --serve llama_cpp"),
    "fetch_translation_model": ({"source": "cws"}, "--engine llm --model {source} --allow-noncommercial"),
    "fetch_translation_model of OPUS-MT": ({"marian": "cw"}, "--engine opus-mt --model {marian}"),
    "gguf_perplexity": ({"gguf": "g"}, "--model {gguf}/f16.gguf --tokens {tokens}"),
    "llama_factory": ({"base": "ct"}, "--settings {settings} --base-model {base} --base-name base --train {threads} --validation {threads} --template {base}"),
    "axolotl_dpo": ({"base": "s"}, "--settings {settings} --base-name base --before adapter --train {pairs} --validation {pairs} --template {base}"),
    "mix": ({"base": "cwt"}, "--threads {threads} --dataset {dataset} --base-model {base} --template {base} --accounting {out}.json"),
    "merge": ({"adapter": "tra", "base": "cw"}, "--adapter {adapter} --base-model {base} --name Portuguese"),
    "other_trainers": ({"base": "s"}, "--settings {settings} --base-model base --train {threads} --validation {threads} --template {base}"),
    "perplexity": ({"adapter": "tra", "base": "cw", "merged": "cw"}, "--adapter {adapter} --base-model {base} --merged {merged} --threads {threads} --tokens {out}.tokens"),
    "pivot": ({"base": "cwt"}, "--shard {shard} --source pt --engine llm --model {base} --source-code Portuguese --target-code English"),
    "quantize": ({"gguf": "g"}, "--model {gguf}/f16.gguf --quantization q8_0"),
    "serve": ({"adapter": "tra", "base": "cw"}, "--adapter {adapter} --base-model {base} --port 0 --check"),
    "threads": ({"base": "s"}, "--dataset {dataset} --template {base} --accounting {out}.json"),
    "translate": ({"base": "cwt"}, "--shard {shard} --source en --target pt --engine llm --model {base} --source-code English --target-code Portuguese"),
    "tune": ({"base": "cwt"}, "--data {threads} --base-model {base} --template {base} --target pt --name Portuguese --max-steps 1 --lora-rank 2"),
    "tune of preferences": ({"adapter": "a", "base": "cwt"}, "--method dpo --data {pairs} --base-model {base} --adapter {adapter} --template {base} --target pt --name Portuguese --max-steps 1"),
    "write_modelfile": ({"adapter": "tr"}, "--adapter {adapter} --gguf f16.gguf"),
}  # fmt: skip


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


def values(name, **changed):
    return lambda folder: write_json(folder / name, read_json(folder / name) | changed)


def cut(name):
    return lambda folder: (folder / name).write_bytes(
        (folder / name).read_bytes()[: (folder / name).stat().st_size // 2]
    )


def half_a_tokenizer(folder):
    for path in [*folder.glob("tokenizer.json"), *folder.glob("tokenizer.model")]:
        cut(path.name)(folder)


def offsets(start, end):
    """Return a function that changes the position of the last tensor in each weight file."""

    def damage(folder):
        for path in folder.glob("*.safetensors"):
            content = path.read_bytes()
            length = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + length])
            header[max(header, key=lambda name: header[name].get("data_offsets", [0])[0])]["data_offsets"] = [
                start,
                end,
            ]
            changed = json.dumps(header).encode()
            path.write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + length :])

    return damage


def turned(folder):
    """Transpose all matrices: the same number of weights, in another shape."""
    for path in folder.glob("*.safetensors"):
        weights = {
            name: weight.T.contiguous() if weight.dim() == 2 and weight.shape[0] != weight.shape[1] else weight
            for name, weight in load_file(path).items()
        }
        save_file(weights, path, {"format": "pt"})


def lacking(folder):
    for path in folder.glob("*.safetensors"):
        weights = load_file(path)
        del weights[next(name for name in sorted(weights) if "layers.0" in name)]
        save_file(weights, path, {"format": "pt"})


def indexed(folder):
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    write_json(folder / "model.safetensors.index.json", {"weight_map": ["model-1.safetensors"]})


def template(value):
    def damage(folder):
        (folder / "chat_template.jinja").unlink(missing_ok=True)
        values("tokenizer_config.json", chat_template=value)(folder)

    return damage


def gguf(content):
    return lambda folder: (folder / "f16.gguf").write_bytes(content)


def header(tensors, pairs, rest=b""):
    return b"GGUF" + b"".join(n.to_bytes(size, "little") for n, size in ((3, 4), (tensors, 8), (pairs, 8))) + rest


WEIGHTS, SETTINGS, RECORD = "model.safetensors", "tokenizer_config.json", "training.json"
ADAPTER, ADAPTED = "adapter_config.json", "adapter_model.safetensors"
HUGE = 2**62
# Kinds of damage: the letter of the file that a program must read to notice it, the damage, what the line must name.
MODEL = {
    "a list": ("c", text("config.json", "[]"), "config.json"),
    "a hundred thousand brackets": ("c", text("config.json", "[" * 100_000), "config.json"),
    "ten million layers": ("c", values("config.json", num_hidden_layers=10**7), "config.json"),
    "more layers than weights": ("c", values("config.json", num_hidden_layers=1500), "config.json"),
    "a hidden size beyond all memory": ("c", values("config.json", hidden_size=2**26), "config.json"),
    "a hidden size in words": ("c", values("config.json", hidden_size="many"), "config.json"),
    "no heads": ("c", values("config.json", num_attention_heads=0), "config.json"),
    "architectures by number": ("c", values("config.json", architectures=[7]), "config.json"),
    "settings that are a list": ("s", text(SETTINGS, "[]"), SETTINGS),
    "added tokens that are a list": ("s", values(SETTINGS, added_tokens_decoder=["<pad>"]), SETTINGS),
    "a template that is a number": ("s", template(7), SETTINGS),
    "an end token that is a list": ("s", values(SETTINGS, eos_token=["</s>"]), SETTINGS),
    "a tokenizer that is a list": ("t", text("tokenizer.json", "[]"), ""),
    "half a tokenizer": ("t", half_a_tokenizer, ""),
    "half the weights": ("w", cut(WEIGHTS), WEIGHTS),
    "weights that are text": ("w", text(WEIGHTS, "no weights"), WEIGHTS),
    "a negative place": ("w", offsets(-8, 0), WEIGHTS),
    "a huge place": ("w", offsets(HUGE, HUGE + 8), WEIGHTS),
    "a place in words": ("w", offsets("0", "8"), WEIGHTS),
    "an index that is a list": ("w", indexed, "model.safetensors.index.json"),
}  # fmt: skip
# Only programs that load the weights, or compare them with the model, notice these.
LOADED = {"matrices on their side": ("w", turned, ""), "a weight that is not there": ("w", lacking, "")}
LOADS = (
    "calibrate",
    "calibrated_perplexity",
    "chat",
    "evaluate",
    "merge",
    "perplexity",
    "pivot",
    "serve",
    "translate",
    "tune",
)
ADAPTERS = {
    "a list": ("a", text(ADAPTER, "[]"), ADAPTER),
    "a huge rank": ("a", values(ADAPTER, r=10**9), ADAPTER),
    "a rank in words": ("a", values(ADAPTER, r="8"), ADAPTER),
    "a pattern that is a list": ("a", values(ADAPTER, rank_pattern=["a"]), ADAPTER),
    "half the weights": ("a", cut(ADAPTED), ADAPTED),
    "a place in words": ("a", offsets("0", "8"), ADAPTED),
    "no weights": ("a", lambda folder: save_file({}, folder / ADAPTED), ""),
    "a record that is a list": ("r", text(RECORD, "[]"), RECORD),
    "half a record": ("r", cut(RECORD), RECORD),
    "settings that are a list": ("t", text(SETTINGS, "[]"), SETTINGS),
    "half a tokenizer": ("t", half_a_tokenizer, ""),
}
GGUF = {
    "no GGUF file": ("g", gguf(b"no GGUF file"), "f16.gguf"),
    "half": ("g", cut("f16.gguf"), "f16.gguf"),
    "tensors without an end": ("g", gguf(header(HUGE, 0)), "f16.gguf"),
    "values without an end": ("g", gguf(header(0, HUGE)), "f16.gguf"),
    "a list without an end": ("g", gguf(header(0, 1, bytes([1] + 7 * [0]) + b"a" + bytes([9, 0, 0, 0, 4, 0, 0, 0]) + HUGE.to_bytes(8, "little"))), "f16.gguf"),
}  # fmt: skip


def damages(program, folder):
    if folder == "adapter":
        return ADAPTERS
    return GGUF if folder == "gguf" else MODEL | (LOADED if program.split()[0] in LOADS else {})


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with inputs and undamaged models, one tuned, merged, packed and converted by the programs."""
    place = tmp_path_factory.mktemp("damaged")
    write_inputs(place, "Olá?\nOnde fica a casa vermelha?\n")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4}
    for name in ("source", "marian", "encoder", "gguf"):
        (place / name).mkdir()
    # Its tokenizer is one that llama.cpp's converters support.
    tokens = save_pieces(place / "source", "chatml", legacy=True)
    config = LlamaConfig(vocab_size=tokens, max_position_embeddings=1024, **sizes)
    LlamaForCausalLM(config).save_pretrained(place / "source")
    shutil.copy("config/templates/chatml.jinja", place / "source" / "chat_template.jinja")
    save_marian(place / "marian")
    save_bert(place / "encoder")
    for program, to in (
        ("fetch_base_model", "base"),
        ("tune", "adapter"),
        ("merge", "merged"),
        ("calibrate", "packed"),
        ("convert_to_gguf", "gguf/f16.gguf"),
    ):
        assert ended(program, place, place / to) is None
    return place


def ended(program, place, output, **folders):
    """Run a program; return its error line, or None if it succeeds. Let all other errors through."""
    name = program.split()[0]
    found = {path.name.partition(".")[0]: path for path in place.iterdir()} | {"out": output} | folders
    words = [TUNING if word == "{settings}" else word.format_map(found) for word in PROGRAMS[program][1].split()]
    script = f"{name}.py"
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [script, *words, *([] if "--check" in words else ["--output", str(output)])])
            errors.run(import_module(name).main)
    except SystemExit as stopped:
        assert isinstance(stopped.code, str), f"exit {stopped.code}"
        assert stopped.code.startswith(f"{script}: error: ") and "\n" not in stopped.code
        assert not output.exists()
        return stopped.code
    return None


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_damaged_folder_is_reported_in_one_line(place, tmp_path, program):
    assert ended(program, place, tmp_path / "whole") is None
    wrong = []
    for folder, reads in PROGRAMS[program][0].items():
        reads += "s" if "t" in reads else ""
        for name, (part, damage, told) in damages(program, folder).items():
            if part not in reads:
                continue
            copy = tmp_path / "copy"
            shutil.copytree(place / folder, copy)
            damage(copy)
            try:
                line = ended(program, place, tmp_path / "output", **{folder: copy})
            except Exception:
                wrong.append(f"{folder}, {name}: {traceback.format_exc()[-1500:]}")
            else:
                if line is None or told not in line or (not told and str(copy) not in line):
                    wrong.append(f"{folder}, {name}: {line}")
            for left in [copy, *tmp_path.glob("*output*")]:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("program", ["chat", "evaluate", "merge", "perplexity"])
def test_a_padding_token_without_an_embedding_is_accepted(place, tmp_path, program):
    """Many tokenizers have a padding token that their model lacks; adapters of such models may have it, too."""
    whole = tokenizer_files.load(place / "base")
    whole.add_special_tokens({"pad_token": "<behind>"})
    for folder in ("base", "adapter"):
        shutil.copytree(place / folder, tmp_path / folder)
        for path in (tmp_path / folder).glob("tokenizer*"):
            path.unlink()
        whole.save_pretrained(tmp_path / folder)
        assert tokenizer_files.load(tmp_path / folder).pad_token == "<behind>"
    assert ended("tune", place, tmp_path / "tuned", base=tmp_path / "base") is None
    for adapter in ("tuned", "adapter"):
        folders = {"adapter": tmp_path / adapter, "base": tmp_path / "base"}
        assert ended(program, place, tmp_path / f"{adapter}.out", **folders) is None
    assert tokenizer_files.load(tmp_path / "tuned").pad_token == whole.eos_token
