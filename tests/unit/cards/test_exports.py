"""Tests of the exports' card: every file with its figures, and commands that use the adapter's chat format."""

import shlex

import pytest
from hub_repos import card_errors, card_header
from markdown_it import MarkdownIt

from mothertongue.cards import exports, merged_model
from mothertongue.common.atomic_files import sha256, write_json
from mothertongue.common.errors import UserError
from mothertongue.export import other_trainers
from mothertongue.export.other_trainers import TrainerInputs
from mothertongue.models.record import base_name

RECORD = {
    "lang": "nl", "system_prompt": "Antwoord in het Nederlands.", "settings": {"lora_rank": 24, "dora": False, "method": "sft"},
    "base_model": {"reference": "a/b", "revision": "c0ffee", "hub_id": "a/b", "licence": "llama2",
        "folder": "../models/base/a--b"},
}  # fmt: skip
MEASURED = {"threads": 2, "tokens": 1000, "perplexity": {"adapter": 10.0, "merged, full": 10.1}}
READ = {"tokens": 2000}
LORA = (
    "vllm serve a/b --revision c0ffee --enable-lora --max-lora-rank 32 --lora-modules nl-chat=../adapter"
    " --chat-template merged/chat_template.jinja --generation-config merged"
)

TRAINED_BY = {
    "axolotl.yaml": "axolotl train axolotl.yaml",
    "unsloth_train.py": "python unsloth_train.py",
}
FOLDERS = {
    "llama_factory": "cd llama_factory && llamafactory-cli train llama_factory.yaml",
    "axolotl_dpo": "cd axolotl_dpo && axolotl train axolotl.yaml",
}


@pytest.fixture
def folder(tmp_path):
    """Return an export folder in which the checksum of the packed model's file is already recorded."""
    made = "merged/model.safetensors", "awq/model.safetensors", "gguf/q8_0.gguf", "adapter.gguf", "base/q8_0.gguf"
    for name in (*TRAINED_BY, *made):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "gguf/Modelfile").write_text('FROM ./q8_0.gguf\nTEMPLATE """{{ .Prompt }}"""\n')
    write_json(tmp_path / "awq/fetched.json", {"files": {"model.safetensors": "known"}})
    return tmp_path


def card(folder, record=RECORD, alike=1999):
    files = dict.fromkeys(exports.weights(folder, "merged"), 10.1) | {"gguf/q8_0.gguf": 10.2}
    files |= {"adapter.gguf": None, "base/q8_0.gguf": None}
    files |= dict.fromkeys(exports.weights(folder, "awq"), 12.0)
    exported = exports.exported(folder, files)
    return exports.card(folder, record, "Dutch", "nl-chat", "a/b", "full", exported, MEASURED, READ | {"alike": alike})


def test_every_file_is_listed_with_size_perplexity_and_checksum(folder):
    text = card(folder)
    checksum = sha256(folder / "gguf/q8_0.gguf")
    assert f"| `gguf/q8_0.gguf` | 0 MB | 10.200 | x 1.020 | `{checksum}` |" in text
    assert "| `awq/model.safetensors` | 0 MB | 12.000 | x 1.200 | `known` |" in text
    assert "| `adapter.gguf` | 0 MB | not measured | not measured |" in text
    assert "`llama-server -m base/q8_0.gguf --lora adapter.gguf --jinja" in text
    assert card_header(text)["language"] == ["nl"] and not card_errors(text, "model")


def test_missing_weights_are_refused_and_files_of_earlier_exports_are_named(folder):
    (folder / "gguf/f16.gguf").touch()
    assert "Also here" not in card(folder)
    (folder / "gguf/q2_k.gguf").touch()
    (folder / "gptq").mkdir()
    (folder / "gptq/model.safetensors").touch()
    assert "Also here, and not of this card: `gguf/q2_k.gguf`, `gptq/model.safetensors`. Earlier exports" in card(
        folder
    )
    (folder / "awq/model.safetensors").unlink()
    with pytest.raises(UserError, match="awq: no weights in it; delete the folder"):
        card(folder)


def test_a_difference_between_the_tokenizers_of_llama_cpp_and_training_is_reported(folder):
    assert "Of the threads' 2,000 tokens llama.cpp's tokenizer makes 1,999 as training did." in card(folder)
    assert "makes 1,900 as training did: so few that it will answer worse" in card(folder, alike=1900)


def test_the_commands_use_the_chat_format_that_the_adapter_was_trained_on(folder):
    text = card(folder)
    assert f"| vLLM, the adapter | `{LORA}` |" in text and "> Antwoord in het Nederlands." in text
    assert "| vLLM, `merged/` | `vllm serve merged --served-model-name nl-chat` |" in text
    assert "| vLLM, `awq/` | `vllm serve awq --served-model-name nl-chat` |" in text
    local = RECORD | {"base_model": RECORD["base_model"] | {"hub_id": None}}
    assert LORA.replace(" --revision c0ffee", "") in card(folder, local)


@pytest.mark.parametrize("settings", [{"dora": True}, {"lora_rank": 600}])
def test_an_adapter_that_vllm_does_not_support_has_no_vllm_command(folder, settings):
    assert "--enable-lora" not in card(folder, RECORD | {"settings": RECORD["settings"] | settings})


def test_the_ollama_command_warns_about_a_missing_template(folder):
    command = "`ollama create nl-chat -f gguf/Modelfile && ollama run nl-chat`"
    assert f"| Ollama | {command} |" in card(folder)
    (folder / "gguf/Modelfile").write_text("FROM ./q8_0.gguf\n# no TEMPLATE\n")
    assert (
        f"| Ollama, once `gguf/Modelfile` has a `TEMPLATE` of yours: without, it speaks another chat format | {command} |"
        in card(folder)
    )


def test_commands_of_other_trainers_are_listed_only_where_their_files_exist(folder):
    for file, command in TRAINED_BY.items():
        assert f"`{file}` | `{command}` |" in card(folder)
    preferences = RECORD | {"settings": RECORD["settings"] | {"method": "dpo"}}
    assert not any(f"`{command}`" in card(folder, preferences) for command in TRAINED_BY.values())
    assert not any(command in card(folder) for command in FOLDERS.values())
    for name in FOLDERS:
        (folder / name).mkdir()
    assert all(f"`{command}`" in card(folder, preferences) for command in FOLDERS.values())
    assert FOLDERS["llama_factory"] in card(folder) and FOLDERS["axolotl_dpo"] not in card(folder)
    (folder / "axolotl.yaml").unlink()
    assert "axolotl train" not in card(folder) and TRAINED_BY["unsloth_train.py"] in card(folder)
    material = TrainerInputs("a/b", None, "train.jsonl", "validation.jsonl", "{{ messages }}", None)
    (folder / "unsloth_train.py").write_text(other_trainers.unsloth({}, material, None))
    assert TRAINED_BY["unsloth_train.py"] not in card(folder)


def test_a_system_prompt_of_several_lines_is_quoted_completely(folder):
    record = RECORD | {"system_prompt": "Antwoord kort.\n\nEn in het Nederlands."}
    record["base_model"] = RECORD["base_model"] | {"licence": "mit"}
    for text in (card(folder, record), merged_model.card(record, "Dutch", "full")):
        assert "\n\n> Antwoord kort.\n>\n> En in het Nederlands.\n\n" in text
    assert "\n> (none)\n" in card(folder, RECORD | {"system_prompt": ""})


def test_cards_name_the_teacher_and_its_licence(folder):
    record = RECORD | {"base_model": RECORD["base_model"] | {"licence": "mit"}}
    taught = record | {"teachers": {"Big/T@teacher": "cc-by-nc-4.0"}}
    for plain, text in (
        (card(folder, record), card(folder, taught)),
        (merged_model.card(record, "Dutch", "full"), merged_model.card(taught, "Dutch", "full")),
    ):
        assert "not by people" not in plain and "## Licences" not in plain and card_header(plain)["license"] == "mit"
        assert "written by a model, not by people**: Big/T@teacher." in " ".join(text.split())
        assert text.endswith(
            f"## Licences\n\n- base model {base_name(record['base_model'])}: mit\n- Big/T@teacher: cc-by-nc-4.0\n\n"
            "**Not for commercial use**: the licence of Big/T@teacher forbids it.\n"
        )
        assert card_header(text)["license_name"] == "mit-and-cc-by-nc-4.0"
        # Nothing else changes, so that the card is laid out as before.
        assert text.split("---\n", 2)[2].startswith(plain.split("---\n", 2)[2][:40])


@pytest.mark.parametrize("odd", ["a b", "a|b", "`id`", "$(id)", "a;b", "it's", "<b>", "--x", "{{x}}"])
def test_hostile_names_do_not_break_a_command_or_its_table_cell(folder, odd):
    """Names of models, files and folders: each is one shell word, and plain text in its table."""
    (folder / f"gguf/{odd}.gguf").write_bytes(b"")
    record = RECORD | {"system_prompt": odd, "base_model": RECORD["base_model"] | {"reference": odd, "revision": odd}}
    exported = exports.exported(folder, {f"gguf/{odd}.gguf": 10.0, "awq/model.safetensors": None})
    measured = MEASURED | {"perplexity": {"adapter": 10.0, odd: 1.0}}
    text = exports.card(folder, record, odd, odd, f"../{odd}", odd, exported, measured, {"tokens": 2000, "alike": 1999})
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [inner for token in tokens for inner in token.children or []]
    assert {token.type for token in inline} <= {"text", "code_inline", "softbreak", "html_inline"}
    assert {token.content for token in inline if token.type == "html_inline"} <= {"<code>", "</code>"}
    rows = [token for token in tokens if token.type == "inline" and token.level == 4]
    cells = ["".join(x.content for x in token.children if x.type != "html_inline") for token in rows]
    words = [shlex.split(cell) for cell in cells if cell.startswith(("vllm", "ollama", "llama-server"))]
    assert ["vllm", "serve", "awq", "--served-model-name", odd] in words
    assert ["ollama", "create", odd, "-f", "gguf/Modelfile", "&&", "ollama", "run", odd] in words
    assert ["llama-server", "-m", f"gguf/{odd}.gguf", "--jinja"] in words
    assert any(
        line[:5] == ["vllm", "serve", f"../{odd}", "--revision", odd] and f"{odd}=../adapter" in line for line in words
    )
