"""Tests of the private names of other packages that the library uses: each exists, and only one module uses it.

A new version of a package may move any of them. The failure then names the package, the name and the module to adapt.
"""

import importlib
import inspect
import re
from importlib import metadata
from pathlib import Path

import pytest

# Private names with the parameters that they are called with, by package and the only module that uses them.
PRIVATE = {
    ("transformers", "export/weight_names.py"): {
        "transformers.conversion_mapping:get_model_conversion_mapping": ["model"],
        "transformers.core_model_loading:WeightConverter": ["source_patterns", "operations"],
        "transformers.core_model_loading:WeightRenaming": ["source_patterns"],
        "transformers.core_model_loading:dot_natural_key": [],
        "transformers.core_model_loading:rename_source_key": [],
    },
    ("transformers", "tuning/cpu_kernels.py"): {
        "transformers.integrations.sdpa_attention:sdpa_attention_forward": ["module", "query", "key", "value"],
        "transformers.masking_utils:sdpa_mask": [],
        "transformers:PreTrainedConfig._attn_implementation": [],
    },
    ("transformers", "export/merge.py"): {
        "transformers:PreTrainedModel._keys_to_ignore_on_load_missing": [],
    },
    ("trl", "tuning/cpu_kernels.py"): {
        "trl.trainer.utils:FusedCausalLMOutput": ["log_probs", "entropy", "is_top1", "label_mask"],
    },
    ("trl", "tuning/trainers.py"): {
        "trl.experimental.orpo:ORPOTrainer": ["model", "args", "train_dataset"],
        "trl.experimental.orpo:ORPOConfig": [],
        "trl:DPOTrainer._prepare_dataset": ["dataset"],
    },
    ("torch", "models/causal_lm.py"): {
        "torch.cpu:_is_avx512_bf16_supported": [],
        "torch.cpu:_is_amx_tile_supported": [],
    },
    ("ik-llama-cpp-python", "export/gguf/perplexity.py"): {
        "ik_llama_cpp._internals:IkModel": [],
        "ik_llama_cpp._internals:IkContext": ["n_ctx", "n_threads", "flash_attn"],
        "ik_llama_cpp._internals:make_batch": ["logits_last"],
        "ik_llama_cpp._ctypes_api:_lib": [],
        "ik_llama_cpp._ctypes_api:llama_batch_free": [],
    },
}
LIBRARY = Path("scripts/mothertongue")


@pytest.mark.parametrize(
    ("package", "module", "name", "parameters"),
    [(*place, name, parameters) for place, names in PRIVATE.items() for name, parameters in names.items()],
    ids=lambda value: value if isinstance(value, str) and ":" in value else "",
)
def test_a_private_name_exists_with_its_parameters(package, module, name, parameters):
    place, _, path = name.partition(":")
    moved = f"{package} {metadata.version(package)} has moved {path} of {place}: mend scripts/mothertongue/{module}"
    try:
        found = importlib.import_module(place)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        pytest.fail(moved)
    if parameters:
        known = inspect.signature(found).parameters
        flexible = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
        assert flexible or set(parameters) <= set(known), f"{moved}: it takes {', '.join(known)}"


def test_each_private_name_is_used_in_one_module():
    for (_, module), names in PRIVATE.items():
        for name in names:
            word = re.compile(rf"\b{name.rpartition(':')[2].rpartition('.')[2]}\b")
            users = {
                str(path.relative_to(LIBRARY))
                for path in LIBRARY.rglob("*.py")
                if word.search(re.sub(r'"[^"\n]*"', "", path.read_text(encoding="utf-8")))
            }
            assert module in users and len(users) == 1, f"{name}: {users}"
