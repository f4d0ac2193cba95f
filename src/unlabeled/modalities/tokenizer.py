"""Training a tokenizer on the data, saved as a folder that `AutoTokenizer` opens.

Byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; bytes as in GPT-2), WordPiece (BERT), a
unigram model of bytes (Kudo 2018, arXiv:1804.10959), characters, bytes. Whatever the kind, every
document begins with one special token, so that its first word can be predicted, and ends with one,
so that a generator learns to stop.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlabeled.errors import ConfigError, UsageError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

KINDS = ("bpe", "wordpiece", "unigram", "char", "byte")

EDGE, PAD, MASK, UNKNOWN = "<|endoftext|>", "<|pad|>", "<|mask|>", "<|unknown|>"
BERT = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


INFILL = ("<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>")
"""What stands before the three parts of a text that is filled in the middle."""


def extra_tokens(sentinels: int, infill: bool) -> list[str]:
    """Return special tokens beyond the usual ones; the first sentinel is the very last, as in T5.

    >>> extra_tokens(2, False)
    ['<extra_id_1>', '<extra_id_0>']
    """
    return [*INFILL * infill, *(f"<extra_id_{n}>" for n in reversed(range(sentinels)))]


def train(
    kind: str,
    texts: Iterable[str],
    vocab_size: int,
    length: int,
    opens: bool = True,
    edge: str = "before",
    extra: Sequence[str] = (),
    digits: int = 0,
) -> PreTrainedTokenizerFast:
    """Train a tokenizer.

    Args:
        kind: one of `KINDS`.
        texts: pieces of documents; read once.
        vocab_size: most entries, special ones included.
        length: tokens in a row, written down as the model's longest input.
        opens: whether encoding puts the special token at a document. False for a corpus of
            so few documents that its meaning cannot be learned.
        edge: whether that is before, after or on both sides (WordPiece: always both).
        extra: further special tokens, part of `vocab_size`.
        digits: most digits in a token of those that are trained; 0 is any number.

    Raises:
        ConfigError: a vocabulary too small for the kind.
    """
    trained = {"bpe": _bpe, "wordpiece": _wordpiece, "unigram": _unigram}
    makers = {"byte": _byte, "char": _char}
    if kind not in KINDS:
        raise UsageError(
            f"modality.tokenizer={kind!r} is neither one of {', '.join(KINDS)} nor a folder with "
            f"a tokenizer.{nearest(kind, KINDS)}"
        )
    entries = vocab_size - len(extra)
    if kind in trained:
        tokenizer = trained[kind](texts, entries, digits)
    else:
        tokenizer = makers[kind](texts, entries)
    tokenizer.add_special_tokens(list(extra))
    names = BERT if kind == "wordpiece" else {"pad": PAD, "mask": MASK, "bos": EDGE, "eos": EDGE}
    if kind == "char":
        names = {**names, "unk": UNKNOWN}
    template = _template(names, edge) if opens or "cls" in names else None
    return _wrap(tokenizer, names, length, template, extra)


def _template(names: dict[str, str], edge: str) -> tuple[str, str]:
    """Return how a document, and a pair of them, is marked."""
    if "cls" in names:
        single = f"{names['cls']} $A {names['sep']}"
        return single, f"{single} $B:1 {names['sep']}:1"
    before, after = (f"{EDGE} " * (edge != "after"), f" {EDGE}" * (edge != "before"))
    return f"{before}$A{after}", f"{before}$A {EDGE} $B{after}"


def _wrap(
    tokenizer: Any,
    names: dict[str, str],
    length: int,
    template: tuple[str, str] | None,
    extra: Sequence[str],
) -> PreTrainedTokenizerFast:
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    if template is not None:
        edges = [names[role] for role in ("cls", "sep") if role in names] or [EDGE]
        tokenizer.post_processor = TemplateProcessing(
            single=template[0],
            pair=template[1],
            special_tokens=[(word, tokenizer.token_to_id(word)) for word in edges],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=length,
        clean_up_tokenization_spaces=False,
        extra_special_tokens=list(extra),
        **{f"{role}_token": word for role, word in names.items()},
    )


def _check_size(kind: str, vocab_size: int, least: int) -> None:
    if vocab_size < least:
        raise ConfigError(
            f"modality.vocab_size={vocab_size} is too small: a {kind} tokenizer needs at least "
            f"{least} entries."
        )


def _apart(digits: int, then: Any) -> Any:
    """Return a rule that cuts numbers into groups of digits, from the left, before another rule."""
    if not digits:
        return then
    from tokenizers import Regex, pre_tokenizers

    groups = pre_tokenizers.Split(Regex(f"\\p{{N}}{{1,{digits}}}"), "isolated")
    return pre_tokenizers.Sequence([groups, then])


def _unigram(texts: Iterable[str], vocab_size: int, digits: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    _check_size("unigram", vocab_size, 256 + 3)
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = _apart(digits, pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size,
        special_tokens=[EDGE, PAD, MASK],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _bpe(texts: Iterable[str], vocab_size: int, digits: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    _check_size("bpe", vocab_size, 256 + 3)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _apart(digits, pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EDGE, PAD, MASK],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        max_token_length=64,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _byte(texts: Iterable[str], vocab_size: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    del texts
    _check_size("byte", vocab_size, 256 + 3)
    words = [EDGE, PAD, MASK, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([EDGE, PAD, MASK])
    return tokenizer


def _char(texts: Iterable[str], vocab_size: int) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    special = [EDGE, PAD, MASK, UNKNOWN]
    _check_size("char", vocab_size, len(special) + 1)
    letters = sorted(word for word, _ in counts.most_common(vocab_size - len(special)))
    words = {word: index for index, word in enumerate([*special, *letters])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(special)
    return tokenizer


def _wordpiece(texts: Iterable[str], vocab_size: int, digits: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    _check_size("wordpiece", vocab_size, 64)
    tokenizer = Tokenizer(models.WordPiece(unk_token=BERT["unk"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = _apart(digits, pre_tokenizers.BertPreTokenizer())
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=list(BERT.values()),
        limit_alphabet=max(vocab_size // 8, 32),
        show_progress=False,
        continuing_subword_prefix="##",
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load(folder: Path) -> PreTrainedTokenizerFast:
    """Open a folder with a tokenizer, without network and without running its code.

    Raises:
        UsageError: the folder holds no fast tokenizer.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # Said aloud, because the library otherwise prints a warning in every forked data worker.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if not (folder / "tokenizer.json").is_file() and not (folder / "vocab.txt").is_file():
        raise UsageError(
            f"{folder} holds no tokenizer (tokenizer.json). Give a folder written by "
            "save_pretrained, or train one: modality.tokenizer=bpe or wordpiece."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{folder} holds no tokenizer that can be opened: {error}.") from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise UsageError(f"{folder} holds a slow tokenizer; save it as a fast one first.")
    return tokenizer
