"""What a text encoder reads of a sentence: where its tokens end, and which words it has never seen."""

import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from recipevis.errors import InputError

_WORD = re.compile(r"[^\W\d_]+")
# With a vocabulary as large as CLIP's (49,408 tokens), a rare word is spelled from pieces that the encoder knows. A
# small one has a token for each word that its encoder has seen, so the encoder knows nothing about a word in pieces.
_LARGE = 10_000


class Vocabulary:
    """What a CLIP tokenizer knows and keeps of sentences. Not thread-safe.

    Args:
        tokenizer: a fast tokenizer of transformers; it is not changed.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path) -> "Vocabulary":
        """Read a tokenizer's folder, as `models/backbone/tokenizer` and a saved pipeline have it. Imports no torch.

        Raises:
            InputError: the folder holds no tokenizer.
        """
        from transformers import CLIPTokenizer

        if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise InputError(f"{folder}: holds no tokenizer")
        try:
            return cls(CLIPTokenizer.from_pretrained(folder, local_files_only=True))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{folder}: not a readable tokenizer: {' '.join(str(error).split())[:300]}") from error

    @property
    def length(self) -> int:
        """Tokens of a padded sentence, the first and the last one included."""
        return self._tokenizer.model_max_length

    def end(self, sentence: str) -> int | None:
        """How many characters of a sentence are read; None: all of them."""
        encoded = self._tokenizer(sentence, truncation=False, return_offsets_mapping=True, verbose=False)
        if len(encoded.input_ids) <= self.length:
            return None
        return encoded.offset_mapping[self.length - 1][0]  # the first token that gives way to the end-of-text token

    def unknown(self, sentences: Iterable[str]) -> list[str]:
        """The words that a small vocabulary has no token for, each once, in order. A large one knows all words."""
        words = dict.fromkeys(word for sentence in sentences for word in _WORD.findall(sentence.lower()))
        return [word for word in words if len(self._tokenizer.tokenize(word)) > 1] if self._has_words else []

    @cached_property
    def _has_words(self) -> bool:
        """Whether every known word has a token of its own: the vocabulary is small, and not of single bytes alone."""
        vocabulary = self._tokenizer.get_vocab()
        special = set(self._tokenizer.all_special_tokens)
        whole = any(len(token.removesuffix("</w>")) > 1 for token in vocabulary if token not in special)
        return whole and len(vocabulary) < _LARGE


def show_cut(sentence: str, end: int) -> str:
    """The place where a sentence is cut, as `... and stir it | well, then serve ...`, in one line.

    Args:
        sentence: the sentence.
        end: how many of its characters are read.
    """
    before, after = sentence[:end], sentence[end:]
    head = before if len(before) <= 40 else f"... {before[-40:]}"
    tail = after if len(after) <= 40 else f"{after[:40]} ..."
    return " ".join(f"{head} | {tail}".split())
