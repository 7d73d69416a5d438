"""4-bit quantisation by AutoRound, calibrated on the language's own threads to lose little of the language.

AutoRound is Cheng et al., "Optimize Weight Rounding via Signed Gradient Descent for the Quantization of LLMs" (2023).
"""

import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

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

# The files from AutoRound; all others are the merged model's own.
_WEIGHTS = ("config.json", "quant*_config.json", "*.safetensors", "*.safetensors.index.json")
_OWN = ("generation_config.json", *tokenizer_files.FILES)
# AutoRound's names for the formats.
_FORMATS = {"gptq": "auto_gptq", "awq": "auto_awq"}
# GPTQ's common form has no zero points, AWQ has one per group.
_SYMMETRIC = {"gptq": True, "awq": False}


def windows(threads: Sequence[dict[str, Any]], adapter: Path, model: Path, count: int, length: int) -> list[list[int]]:
    """Return at most `count` sequences of `length` tokens, from randomly drawn threads that are concatenated.

    Threads are rendered in the template that the adapter was trained in; `length` is at most the model's context
    window. If there are too few tokens for one sequence, return all of them as one. Raise UserError where there are
    none.
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
    """Write a model with 4-bit weights in a format, with all files of the model's folder beside its weights.

    `steps` is the number of optimisation steps for the rounding of each block of layers; 0 rounds to the nearest, with
    the scales that suit `pieces` best. Return the group size, the number of weights that share a scale. Raise UserError
    where the model cannot be packed, OwnError where memory runs out.
    """
    check_objects(model)
    weights_of(model)
    size = gptq_awq.group_size(packed_layers(model, form), form, model)
    scheme = {"bits": 4, "group_size": size, "sym": _SYMMETRIC[form], "data_type": "int"}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        # Set before the import: by default AutoRound logs every layer, and writes files to the working folder.
        os.environ |= {"AR_LOG_LEVEL": "ERROR", "AR_WORK_SPACE": f"{scratch}/work"}
        from auto_round import AutoRound
        from transformers import AutoModelForCausalLM

        data = [torch.tensor([piece]) for piece in pieces]
        try:
            # A copy without the model's own code, which AutoRound would run and copy.
            with contents.plain(model) as plain:
                with loading(model, "cannot be loaded as a causal language model"):
                    # transformers' types do not cover output_loading_info.
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
                    enable_torch_compile=False,  # needs a compiler, which cluster nodes may lack
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
    """Write the merged model's config.json with AutoRound's description of the packed weights.

    AutoRound's own config.json has the RoPE base frequency in a form that only transformers 5 reads: other programs
    would compute with another one. Its dtype is float16, whose range is too narrow for Gemma: keep bfloat16 where it is
    the model's own.
    """
    own, packed = read_object(model / "config.json"), read_object(folder / "config.json")
    dtype = "bfloat16" if "bfloat16" in (own.get("dtype"), own.get("torch_dtype")) else packed["dtype"]
    weights = {"quantization_config": packed["quantization_config"], "dtype": dtype, "torch_dtype": dtype}
    write_json(folder / "config.json", own | weights)
    _narrow(folder, getattr(torch, dtype))


def _narrow(folder: Path, dtype: torch.dtype) -> None:
    """Store what is not packed in the model's own type.

    On CPUs that do not compute with bfloat16 AutoRound leaves it in float32, twice as large.
    """
    for path in sorted(folder.glob("*.safetensors")):
        tensors = load_file(path)
        wide = [name for name, tensor in tensors.items() if tensor.dtype == torch.float32]
        if wide:
            # Into another file: the tensors are read from this one.
            narrow = path.with_suffix(".narrow")
            save_file(tensors | {name: tensors[name].to(dtype) for name in wide}, narrow, {"format": "pt"})
            narrow.replace(path)
