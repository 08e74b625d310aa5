"""Step `tokenizer`: WordPiece tokens of the prompt, by the `tokenizers` package alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as WordPiece

from tryon.contract import MAX_TOKENS
from tryon.steps.decode import read_prompt

FILE = "tokenizer.json"


class Tokenizer:
    """Text to token ids: no more than there are, since BERT's time grows with them.

    Args:
        path: `tokenizer.json`, or the folder it lies in.
    """

    def __init__(self, path: Path) -> None:
        file = path / FILE if path.is_dir() else path
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: run `make export`")
        self._tokenizer = WordPiece.from_file(str(file))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def __call__(self, words: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of the words; what goes beyond MAX_TOKENS is left out.

        Args:
            words: UTF-8.

        Returns:
            input_ids and attention_mask (all ones), int64 (2 to MAX_TOKENS,).

        Raises:
            BadPrompt, PromptTooLong.
        """
        encoded = self._tokenizer.encode(read_prompt(words))
        return np.array(encoded.ids, np.int64), np.array(encoded.attention_mask, np.int64)
