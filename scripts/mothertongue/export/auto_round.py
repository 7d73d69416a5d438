"""4-bit weights that do least harm to a language: rounded by AutoRound, which sees the language's own threads.

AutoRound is Cheng et al., "Optimize Weight Rounding via Signed Gradient Descent for the Quantization of LLMs" (2023).
"""

import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from mothertongue.common.atomic_files import copy_files, read_object, write_json
from mothertongue.common.errors import OwnError, UserError
from mothertongue.common.progress import log
from mothertongue.export import gptq_awq
from mothertongue.export.linear_layers import packed_layers
from mothertongue.export.safetensors import weights_of
from mothertongue.model_folders import contents
from mothertongue.model_folders.reading import check_objects, embedding_rows, loading
from mothertongue.models import causal_lm, tokenizer_files
from mothertongue.prompts import templates

# What AutoRound writes; all else is the merged model's own.
_WEIGHTS = ("config.json", "quant*_config.json", "*.safetensors", "*.safetensors.index.json")
_OWN = ("generation_config.json", *tokenizer_files.FILES)
# What AutoRound calls the formats.
_FORMATS = {"gptq": "auto_gptq", "awq": "auto_awq"}
# GPTQ's common form knows no zero point of its own, AWQ's has one a group.
_SYMMETRIC = {"gptq": True, "awq": False}


def windows(threads: Sequence[dict[str, Any]], adapter: Path, model: Path, count: int, length: int) -> list[list[int]]:
    """At most `count` pieces of `length` tokens, of threads drawn by chance and put one behind the other.

    The threads are in the template that the adapter was trained in, and a piece is no longer than the model reads. Of
    too few tokens for one piece all are one; raises UserError where there are none.
    """
    window = causal_lm.window_of(model) or length
    if window < length:
        log(f"calibrate: pieces of {window:,} tokens, which the model reads at most, not {length:,}")
        length = window
    tokenizer, template = tokenizer_files.load_with_template(adapter, embedding_rows(model))
    tokens: list[int] = []
    drawn = random.Random(1).sample(threads, len(threads))
    for _, encoded in templates.encode_known(drawn, template, tokenizer):
        tokens += encoded.input_ids
        if len(tokens) >= count * length:
            break
    if not tokens:
        raise UserError("there are no threads to calibrate on")
    length = min(length, len(tokens))
    return [tokens[i : i + length] for i in range(0, min(count * length, len(tokens)) - length + 1, length)]


def pack(model: Path, form: str, pieces: Sequence[Sequence[int]], steps: int, folder: Path) -> int:
    """Write a model with weights of 4 bits in a format, and all that the model's folder has beside its weights.

    `steps` is how often the rounding of each block of layers is improved; 0 rounds to the nearest, with the scales that
    suit `pieces` best. Returns the number of weights that share a scale. Raises UserError where the model cannot be
    packed.
    """
    check_objects(model)
    weights_of(model)
    size = gptq_awq.group_size(packed_layers(model, form), form, model)
    scheme = {"bits": 4, "group_size": size, "sym": _SYMMETRIC[form], "data_type": "int"}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # Set before it is imported: its news of every layer is too much, and its files would lie in the working folder.
        os.environ |= {"AR_LOG_LEVEL": "ERROR", "AR_WORK_SPACE": f"{scratch}/work"}
        from auto_round import AutoRound
        from transformers import AutoModelForCausalLM

        data = [torch.tensor([piece]) for piece in pieces]
        try:
            # It would run a model's own code, and copy it.
            with contents.plain(model) as plain:
                with loading(model, "cannot be loaded as a causal language model"):
                    # What output_loading_info adds is not in transformers' types.
                    loaded: tuple[Any, dict[str, Any]] = AutoModelForCausalLM.from_pretrained(  # type: ignore[assignment]
                        plain, dtype="auto", use_safetensors=True, trust_remote_code=False, output_loading_info=True
                    )
                unpacked, account = loaded
                causal_lm.check_complete(model, account)
                rounding = AutoRound(
                    unpacked,
                    tokenizer=tokenizer_files.load(plain, embedding_rows(model)),
                    scheme=scheme,
                    dataset=[{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in data],
                    seqlen=len(pieces[0]),
                    nsamples=len(pieces),
                    batch_size=min(8, len(pieces)),
                    iters=steps,
                    device_map=causal_lm.device(),
                    enable_torch_compile=False,  # wants a compiler, which nodes of a cluster may lack
                    trust_remote_code=False,
                )
                _, written = rounding.quantize_and_save(f"{scratch}/packed", format=_FORMATS[form])
        except (torch.OutOfMemoryError, MemoryError):
            raise OwnError(f"{model}: out of memory; set export.calibration.length to half of it") from None
        (packed,) = [written] if isinstance(written, str) else written
        copy_files(Path(packed), _WEIGHTS, folder)
    contents.copy(model, _OWN, folder)
    _describe(model, folder)
    return size


def _describe(model: Path, folder: Path) -> None:
    """Write the merged model's own configuration, with what AutoRound says of the weights that it has packed.

    AutoRound's own has the positions' base frequency (RoPE) as transformers 5 alone reads it, others would compute with
    another; and it names float16 to compute in, which is too narrow for Gemma, where bfloat16 is the model's own.
    """
    own, packed = read_object(model / "config.json"), read_object(folder / "config.json")
    dtype = "bfloat16" if "bfloat16" in (own.get("dtype"), own.get("torch_dtype")) else packed["dtype"]
    weights = {"quantization_config": packed["quantization_config"], "dtype": dtype, "torch_dtype": dtype}
    write_json(folder / "config.json", own | weights)
