"""Fetch encoder-decoder models and convert them once from the hub's format to CTranslate2's."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from mothertongue.common.errors import UserError
from mothertongue.model_folders.reading import check, loading, skeleton
from mothertongue.models import fetching
from mothertongue.models.references import Reference
from mothertongue.translation.engines.ctranslate2 import EncoderDecoder

# The model's original config.json, kept beside the converted weights.
ORIGINAL = "original_config.json"


def fetch(engine: type[EncoderDecoder], reference: Reference, folder: Path) -> None:
    """Fetch and convert a model. Raise UserError where it is damaged or does not have the engine's architecture."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".hub-") as hub:
        # Pickles are safe: transformers loads only their tensors (weights_only), never code.
        resolved = fetching.download(reference, Path(hub), pickle=True)
        try:
            convert(Path(hub), folder, engine.MODEL_TYPE, engine.TOKENIZER_FILES)
        except UserError as error:
            message = str(error).removeprefix(f"{hub}: ").replace(f"{hub}/", "").replace(hub, reference.text)
            raise UserError(f"{reference.text}: {message}") from None
    fetching.write_record(folder, reference, resolved)


def convert(source: Path, folder: Path, model_type: str, tokenizer_files: Sequence[str]) -> None:
    """Convert the model in `source` (the hub's format) into `folder`, with its SentencePiece files.

    The weights keep their precision; CTranslate2 quantises when it loads them. Raise UserError where the model has
    another architecture than `model_type`, or a file is missing or damaged.
    """
    found = check(source).get("model_type")
    if found != model_type:
        raise UserError(f"the model is a '{found}', and this engine runs '{model_type}' models; choose another")
    vocabularies = [name for name in tokenizer_files if (source / name).is_file()]
    if not vocabularies:
        raise UserError(f"the model has no SentencePiece file ({' or '.join(tokenizer_files)})")
    skeleton(source, "AutoModelForSeq2SeqLM", "translation model")
    # A subfolder, since the converter empties its output folder.
    converted = folder / "converted"
    _run_converter(source, converted)
    for path in converted.iterdir():
        path.replace(folder / path.name)
    converted.rmdir()
    for name in vocabularies:
        shutil.copyfile(source / name, folder / name)
    shutil.copyfile(source / "config.json", folder / ORIGINAL)


def _run_converter(source: Path, folder: Path) -> None:
    from ctranslate2.converters import TransformersConverter
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()  # it logs tables of weights
    # Only the vocabulary of the tokenizers is used: their warnings about encoding text do not apply.
    warnings.filterwarnings("ignore", module="transformers")
    warnings.filterwarnings("ignore", module="torch")
    _register_marian()
    _register_t5()

    class Converter(TransformersConverter):
        def load_model(self, model_class: Any, path: str, **options: Any) -> Any:
            # weights_only: load only tensors from a pickle.
            options |= {"output_loading_info": True, "ignore_mismatched_sizes": True, "weights_only": True}
            with _loading(path, "weights"):
                model, report = model_class.from_pretrained(path, trust_remote_code=False, **options)
            # transformers initialises these weights at random and only warns.
            if lacking := sorted([*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]):
                raise ValueError(f"weights are missing or of another shape ({len(lacking)}, such as {lacking[0]})")
            return model

        def load_tokenizer(self, tokenizer_class: Any, path: str, **options: Any) -> Any:
            with _loading(path, "tokenizer"):
                return tokenizer_class.from_pretrained(path, trust_remote_code=False, **options)

    with loading(source, "cannot convert the model"):
        Converter(str(source), trust_remote_code=False).convert(str(folder))


@contextmanager
def _loading(path: str, what: str) -> Iterator[None]:
    """Convert errors of transformers in loading a part of a model to UserError: see reading.loading."""
    with loading(Path(path), f"cannot load the model's {what}"):
        try:
            yield
        except UnpicklingError:
            raise ValueError("the pickle holds more than tensors, or is damaged") from None


def _register_marian() -> None:
    """Make CTranslate2 start Marian's decoder from the embedding of <pad> where that was trained.

    CTranslate2's loader drops the row, since models trained by Marian start from zero. Models trained or tuned with
    transformers start from <pad>, and lose their first word without it.
    """
    from ctranslate2.converters.transformers import BartLoader, MarianMTLoader, register_loader

    @register_loader("MarianConfig")
    class Loader(MarianMTLoader):
        def set_decoder(self, spec: Any, decoder: Any) -> None:
            super().set_decoder(spec, decoder)
            spec.start_from_zero_embedding = not _start_is_trained(decoder)

        def get_vocabulary(self, model: Any, tokenizer: Any) -> list[str]:
            parent = BartLoader if _start_is_trained(model.model.decoder) else MarianMTLoader
            return parent.get_vocabulary(self, model, tokenizer)

        def get_model_spec(self, model: Any) -> Any:
            if not _start_is_trained(model.model.decoder):
                return super().get_model_spec(model)
            model.config.normalize_before = False
            model.config.normalize_embedding = False
            # The start token must never be generated.
            model.final_logits_bias[:, model.config.decoder_start_token_id] = -1e4
            return BartLoader.get_model_spec(self, model)

        def set_config(self, config: Any, model: Any, tokenizer: Any) -> None:
            super().set_config(config, model, tokenizer)
            if _start_is_trained(model.model.decoder):
                config.decoder_start_token = tokenizer.pad_token


def _register_t5() -> None:
    """Make CTranslate2 scale a T5's outputs as the model does, and limit the vocabulary to the model's size.

    CTranslate2's loader follows tie_word_embeddings, which transformers 5 sets for every T5: the scores of MADLAD-400,
    which does not scale and has two matrices, were far too low.
    """
    from ctranslate2.converters.transformers import T5Loader, register_loader

    @register_loader("T5Config")
    class Loader(T5Loader):
        def get_model_spec(self, model: Any) -> Any:
            scaled = model.config.scale_decoder_outputs
            if not scaled and model.lm_head.weight is model.shared.weight:
                raise ValueError("weights are missing: the embeddings or lm_head.weight")
            model.config.tie_word_embeddings = scaled
            return super().get_model_spec(model)

        def get_vocabulary(self, model: Any, tokenizer: Any) -> list[str]:
            return super().get_vocabulary(model, tokenizer)[: model.config.vocab_size]


def _start_is_trained(decoder: Any) -> bool:
    return bool(decoder.embed_tokens.weight[decoder.config.decoder_start_token_id].any())
