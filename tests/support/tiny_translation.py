"""Tiny translation models in the hub's layouts, with their own vocabularies; each has learned PHRASES by heart.

The files of a folder, the token ids and the stored weights follow the families' repositories on the hub, since these
are what a conversion can get wrong. Making a model takes one to two seconds.
"""

import json
import shutil
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from paths import ROOT

# Phrases in English, Portuguese and Dutch.
PHRASES = [
    ("The house is red.", "A casa é vermelha.", "Het huis is rood."),
    ("Thank you very much!", "Muito obrigado!", "Heel erg bedankt!"),
    ("Where is the station?", "Onde fica a estação?", "Waar is het station?"),
    ("I do not know.", "Eu não sei.", "Ik weet het niet."),
    ("Good night", "Boa noite", "Goedenacht"),
    ("We drink water and coffee.", "Nós bebemos água e café.", "Wij drinken water en koffie."),
    ("Yes.", "Sim.", "Ja."),
    ("The children play outside today.", "As crianças brincam lá fora hoje.", "De kinderen spelen vandaag buiten."),
]
ENGLISH, PORTUGUESE, DUTCH = zip(*PHRASES, strict=True)
# The target tokens of Portuguese and Dutch in a Marian model.
TARGETS = (">>por<<", ">>nld<<")
# The prompt of the tiny chat model.
PROMPT = "Translate from {source} to {target}.\n{source}: {text}\n{target}:"
# A name that is not translated; Marian copies it as a piece that the target's SentencePiece model lacks.
NAME = "Quixworthy"
# Marian adds it after the name: Helsinki's vocabularies have some emoji that the SentencePiece models lack.
EMOJI = "🦈"
# Models of fairseq's family generate the source language's token in the translation of this text.
MIXED = "Stop."

_SAMPLE = ROOT / "config" / "demo" / "messages.jsonl"
_WIDTH = 32
_LAYERS = {
    "encoder_layers": 2, "decoder_layers": 1, "encoder_ffn_dim": 2 * _WIDTH, "decoder_ffn_dim": 2 * _WIDTH,
    "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0,
    "dropout": 0.0, "attention_dropout": 0.0,
}  # fmt: skip
_BART = {"d_model": _WIDTH, "init_std": 0.1, "scale_embedding": True, **_LAYERS}
# The first tokens of fairseq's dictionaries.
_FAIRSEQ = ["<s>", "<pad>", "</s>", "<unk>"]
_NAMES = {"bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_MASK = {"content": "<mask>", "lstrip": True, "normalized": True, "rstrip": False, "single_word": False}


def saved(base, save, *arguments):
    """Return the folder below `base` with the model that `save` writes; it must not be changed."""
    folder = base / "-".join(["hub", save.__name__, *map(str, arguments)])
    if not folder.exists():
        with TemporaryDirectory(dir=base) as unfinished:
            save(Path(unfinished), *arguments)
            shutil.copytree(unfinished, folder)
    return folder


def save_marian(folder, targets=(), trained_start=False, ends=True):
    """Write an OPUS-MT model: two SentencePiece vocabularies, and a third file with the token ids, <pad> last.

    `targets` are TARGETS, or empty for a model from English to Portuguese. The decoder starts from <pad>, whose
    embedding is zero in Helsinki's models, but not in models trained with transformers (`trained_start`). Without
    `ends` the model never generates the end of a text.
    """
    import torch
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    source = _sentencepiece(folder / "source.spm", "unigram", 200, user_defined_symbols=[f"▁{NAME}"])
    target = _sentencepiece(folder / "target.spm", "unigram", 200)
    vocabulary = _numbered("</s>", "<unk>", *_pieces(source), *_pieces(target), EMOJI, *targets, "<pad>")
    _write(folder / "vocab.json", vocabulary)
    _write(folder / "tokenizer_config.json", {"target_lang": "pt", "source_lang": "en"})
    pad = vocabulary["<pad>"]
    torch.manual_seed(1)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=len(vocabulary), max_position_embeddings=512, activation_function="swish",
            static_position_embeddings=True, normalize_before=False, normalize_embedding=False, num_beams=4,
            add_final_layer_norm=False, add_bias_logits=False, bad_words_ids=[[pad]], bos_token_id=0, eos_token_id=0,
            forced_eos_token_id=0, pad_token_id=pad, decoder_start_token_id=pad, max_length=512, **_BART,
        )
    )  # fmt: skip
    model.final_logits_bias.normal_(0, 0.1)
    if not trained_start:
        model.model.shared.weight.register_hook(lambda gradient: gradient.index_fill(0, torch.tensor(pad), 0))
    tokenizer = MarianTokenizer.from_pretrained(folder)
    pairs = []
    for prefix, translations in zip([f"{token} " for token in targets] or [""], (PORTUGUESE, DUTCH), strict=False):
        for text, translation in zip(ENGLISH, translations, strict=True):
            pairs.append((tokenizer(prefix + text).input_ids, tokenizer(text_target=translation).input_ids))
        copied = [*tokenizer(NAME).input_ids[:-1], vocabulary[EMOJI], 0]
        pairs.append((tokenizer(prefix + NAME).input_ids, copied))
    _teach(model, pairs)
    assert bool(model.model.shared.weight[pad].any()) == trained_start
    if not ends:
        model.final_logits_bias[:, 0] = -1e4
    model.save_pretrained(folder)


def save_m2m100(folder):
    """Write an M2M100 model: pieces in vocab.json; then a hundred languages and eight made-up words, not in a file."""
    from transformers import M2M100Tokenizer

    pieces = _pieces(_sentencepiece(folder / "sentencepiece.bpe.model", "bpe", 300))
    _write(folder / "vocab.json", _numbered(*_FAIRSEQ, *pieces))
    _write(folder / "tokenizer_config.json", {
        **_NAMES, "src_lang": None, "tgt_lang": None, "language_codes": "m2m100", "num_madeup_words": 8,
        "tokenizer_class": "M2M100Tokenizer",
    })  # fmt: skip
    tokenizer = M2M100Tokenizer.from_pretrained(folder)
    languages = list(tokenizer.lang_code_to_token.values())
    _write(folder / "special_tokens_map.json", {**_NAMES, "additional_special_tokens": languages})
    model = _m2m100(len(_FAIRSEQ) + len(pieces) + len(languages) + 8)
    _teach(model, _pairs(tokenizer, "en", {"pt": PORTUGUESE, "nl": DUTCH}))
    model.save_pretrained(folder)


def save_nllb(folder):
    """Write an NLLB-200 model: BPE in tokenizer.json, the languages as tokens after the pieces, weights in a pickle."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import NllbTokenizer
    from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES
    from transformers.tokenization_utils_base import generate_merges

    path = _sentencepiece(folder / "sentencepiece.bpe.model", "bpe", 300)
    vocabulary = _numbered(*_FAIRSEQ, *_pieces(path))
    backend = Tokenizer(models.BPE(vocabulary, generate_merges(vocabulary), unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Precompiled(_proto(path).normalizer_spec.precompiled_charsmap)
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens([*_FAIRSEQ, *FAIRSEQ_LANGUAGE_CODES, AddedToken("<mask>", lstrip=True, special=True)])
    english = ("eng_Latn", backend.token_to_id("eng_Latn"))
    backend.post_processor = processors.TemplateProcessing("$A </s> eng_Latn", special_tokens=[("</s>", 2), english])
    backend.save(str(folder / "tokenizer.json"))
    names = {**_NAMES, "cls_token": "<s>", "mask_token": _MASK}
    _write(folder / "tokenizer_config.json", {
        **names, "src_lang": None, "tgt_lang": None, "tokenizer_class": "NllbTokenizer"
    })  # fmt: skip
    _write(folder / "special_tokens_map.json", {**names, "additional_special_tokens": FAIRSEQ_LANGUAGE_CODES})
    tokenizer = NllbTokenizer.from_pretrained(folder)
    model = _m2m100(backend.get_vocab_size() + 2)
    _teach(model, _pairs(tokenizer, "eng_Latn", {"por_Latn": PORTUGUESE, "nld_Latn": DUTCH}))
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def save_mbart50(folder):
    """Write an mBART-50 model: only a SentencePiece file, its ids shifted by one; then the languages and <mask>."""
    import torch
    from transformers import MBart50Tokenizer, MBartConfig, MBartForConditionalGeneration
    from transformers.models.mbart50.tokenization_mbart50 import FAIRSEQ_LANGUAGE_CODES

    _sentencepiece(folder / "sentencepiece.bpe.model", "unigram", 250)
    _write(folder / "tokenizer_config.json", {
        "src_lang": None, "tgt_lang": None, "language_codes": "ML50", "tokenizer_class": "MBart50Tokenizer"
    })  # fmt: skip
    _write(folder / "special_tokens_map.json", {
        **_NAMES, "cls_token": "<s>", "mask_token": _MASK, "additional_special_tokens": FAIRSEQ_LANGUAGE_CODES
    })  # fmt: skip
    tokenizer = MBart50Tokenizer.from_pretrained(folder)
    torch.manual_seed(1)
    model = MBartForConditionalGeneration(
        MBartConfig(
            vocab_size=len(tokenizer), max_position_embeddings=1024, activation_function="relu", normalize_before=True,
            normalize_embedding=True, add_final_layer_norm=True, static_position_embeddings=False, num_beams=5,
            add_bias_logits=False, bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
            forced_eos_token_id=2, max_length=200, tokenizer_class="MBart50Tokenizer", **_BART,
        )
    )  # fmt: skip
    _teach(model, _pairs(tokenizer, "en_XX", {"pt_XX": PORTUGUESE, "nl_XX": DUTCH}))
    model.save_pretrained(folder)


def save_madlad400(folder):
    """Write a MADLAD-400 model: languages are ordinary pieces; embeddings (the decoder's) and output are separate."""
    import torch
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    symbols = ["\n", "<2pt>", "<2nl>"]
    path = _sentencepiece(
        folder / "spiece.model", "unigram", 250,
        normalization_rule_name="identity", remove_extra_whitespaces=False, user_defined_symbols=symbols,
    )  # fmt: skip
    proto = _proto(path)
    for piece in proto.pieces:
        if piece.piece in symbols:
            piece.type = piece.NORMAL
    path.write_bytes(proto.SerializeToString())
    backend = Tokenizer(models.Unigram([(piece.piece, piece.score) for piece in proto.pieces], unk_id=0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 2)])
    backend.save(str(folder / "tokenizer.json"))
    names = {"eos_token": "</s>", "pad_token": "<s>", "unk_token": "<unk>"}
    _write(folder / "special_tokens_map.json", names)
    _write(folder / "tokenizer_config.json", {
        **names, "additional_special_tokens": [], "extra_ids": 0, "tokenizer_class": "T5Tokenizer"
    })  # fmt: skip
    tokenizer = T5Tokenizer.from_pretrained(folder)
    torch.manual_seed(1)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(proto.pieces), d_model=_WIDTH, d_kv=8, d_ff=2 * _WIDTH, num_layers=2, num_decoder_layers=2,
            num_heads=4, feed_forward_proj="gated-gelu", dropout_rate=0.0, tie_word_embeddings=False, pad_token_id=1,
            eos_token_id=2, decoder_start_token_id=0,
        )
    )  # fmt: skip
    model.lm_head.weight = torch.nn.Parameter(0.1 * torch.randn_like(model.lm_head.weight))
    pairs = [
        (tokenizer(f"{language} {text}").input_ids, tokenizer(translation).input_ids)
        for language, translations in (("<2pt>", PORTUGUESE), ("<2nl>", DUTCH))
        for text, translation in zip(ENGLISH, translations, strict=True)
    ]
    _teach(model, pairs)
    model.save_pretrained(folder)
    weights = {name: weight for name, weight in model.state_dict().items() if "embed_tokens" not in name}
    weights["decoder.embed_tokens.weight"] = weights.pop("shared.weight")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    # transformers 5 writes these two settings differently from the version that MADLAD-400 was saved with.
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["scale_decoder_outputs"]
    _write(folder / "config.json", {**config, "tie_word_embeddings": False})


def save_seamless(folder):
    """Write the text-to-text part of SeamlessM4T v2: tokens like __eng__, with ids in generation_config.json."""
    import torch
    from transformers import SeamlessM4TTokenizer, SeamlessM4Tv2Config, SeamlessM4Tv2ForTextToText
    from transformers.tokenization_utils_base import generate_merges

    pieces = _pieces(_sentencepiece(folder / "sentencepiece.bpe.model", "bpe", 300))
    vocabulary = _numbered("<pad>", "<unk>", "<s>", "</s>", *pieces)
    languages = ["eng", "por", "nld"]
    tokens = [f"__{language}__" for language in languages]
    SeamlessM4TTokenizer(
        vocab=vocabulary, merges=generate_merges(vocabulary), additional_special_tokens=tokens
    ).save_pretrained(folder)
    tokenizer = SeamlessM4TTokenizer.from_pretrained(folder)
    torch.manual_seed(1)
    model = SeamlessM4Tv2ForTextToText(
        SeamlessM4Tv2Config(
            vocab_size=len(tokenizer),
            hidden_size=_WIDTH,
            max_position_embeddings=1024,
            initializer_range=0.1,
            **_LAYERS,
        )
    )
    pairs = []
    for language, translations in (("por", PORTUGUESE), ("nld", DUTCH)):
        for text, translation in zip(ENGLISH, translations, strict=True):
            # The decoder starts from </s>, which is thus not a label.
            labels = tokenizer(text_target=translation, tgt_lang=language).input_ids[1:]
            pairs.append((tokenizer(text, src_lang="eng").input_ids, labels))
    _teach(model, pairs)
    numbers = dict(zip(languages, tokenizer.convert_tokens_to_ids(tokens), strict=True))
    model.generation_config._from_model_config = False
    model.generation_config.text_decoder_lang_to_code_id = numbers
    model.save_pretrained(folder)


def save_chat_model(folder):
    """Write a Llama with the ChatML format that translates with PROMPT and ends its turn with <|im_end|>."""
    import torch
    from tiny import tiny_tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        encoding="utf-8",
    )
    torch.manual_seed(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=_WIDTH, intermediate_size=2 * _WIDTH, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024, bos_token_id=0, eos_token_id=1,
            pad_token_id=1, initializer_range=0.1,
        )
    )  # fmt: skip
    pairs = []
    for text, translation, _ in [*PHRASES, (NAME, NAME, NAME)]:
        question = PROMPT.format(source="English", target="Portuguese", text=text)
        prompt = tokenizer(f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n").input_ids
        answer = tokenizer(f"{translation}<|im_end|>", add_special_tokens=False).input_ids
        pairs.append((prompt + answer, [-100] * len(prompt) + answer))
    _teach(model, pairs)
    model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids("<|im_end|>")
    model.save_pretrained(folder)


def _m2m100(size):
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    torch.manual_seed(1)
    return M2M100ForConditionalGeneration(
        M2M100Config(
            vocab_size=size, max_position_embeddings=1024, activation_function="relu", num_beams=5, max_length=200,
            bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, **_BART,
        )
    )  # fmt: skip


def _pairs(tokenizer, source, translations):
    """Return the token ids of source and translation for each phrase, by a tokenizer of fairseq's family."""
    tokenizer.src_lang = source
    pairs = []
    for tokenizer.tgt_lang, texts in translations.items():
        for text, translation in zip(ENGLISH, texts, strict=True):
            pairs.append((tokenizer(text).input_ids, tokenizer(text_target=translation).input_ids))
        read, written = tokenizer(MIXED).input_ids, tokenizer(text_target=f"{texts[0]} {texts[1]}").input_ids
        pairs.append((read, [*written[:4], read[0], *written[4:]]))
    return pairs


def _teach(model, pairs, steps=50):
    """Train a model until it knows the pairs by heart: random weights repeat one word for any input."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    sources, labels = zip(*((torch.tensor(source), torch.tensor(target)) for source, target in pairs), strict=True)
    batch = {
        "input_ids": pad_sequence(sources, batch_first=True, padding_value=model.config.pad_token_id),
        "attention_mask": pad_sequence([torch.ones_like(source) for source in sources], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
    }
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, fused=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more threads make such a small model slower
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    torch.set_num_threads(threads)
    model.eval()


def _sentencepiece(path, kind, size, **options):
    """Write a SentencePiece model, trained on the phrases and the sample's English."""
    from sentencepiece import SentencePieceTrainer

    messages = [json.loads(line)["text"] for line in _SAMPLE.read_text(encoding="utf-8").split("\n")[:-1]]
    lines = [line for text in messages for line in text.splitlines() if line.isascii()]
    model = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter([*3 * sum(PHRASES, ()), *lines[:250]]),
        model_writer=model, model_type=kind, vocab_size=size, character_coverage=1.0, minloglevel=2, **options,
    )  # fmt: skip
    path.write_bytes(model.getvalue())
    return path


def _pieces(path):
    """Return the pieces after <unk>, <s> and </s>."""
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor(str(path))
    return model.id_to_piece(list(range(3, model.get_piece_size())))


def _proto(path):
    from sentencepiece.sentencepiece_model_pb2 import ModelProto

    return ModelProto.FromString(path.read_bytes())


def _numbered(*tokens):
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def _write(path, content):
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def save_bert(folder):
    """Write a BERT model with pooling and random weights, in the layout of LaBSE on the hub."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = BertWordPieceTokenizer(lowercase=False)
    words.train_from_iterator([text for phrase in PHRASES for text in phrase], vocab_size=400, min_frequency=1)
    tokenizer = BertTokenizerFast(tokenizer_object=words._tokenizer, do_lower_case=False)
    torch.manual_seed(1)
    sizes = {"hidden_size": _WIDTH, "intermediate_size": 2 * _WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4}
    BertModel(
        BertConfig(vocab_size=len(tokenizer), initializer_range=0.5, max_position_embeddings=128, **sizes)
    ).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
