"""The prompt, checked, and its WordPiece tokens, by the `tokenizers` package alone."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as WordPiece

from tryon.contract import MAX_PROMPT_CHARACTERS, MAX_TOKENS
from tryon.errors import BadPrompt, PromptTooLong

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

    def __call__(self, words: str) -> tuple[np.ndarray, np.ndarray]:
        """Tokens of the words; what goes beyond MAX_TOKENS is left out.

        Args:
            words: of `read_prompt`; "" for none.

        Returns:
            input_ids and attention_mask (all ones), int64 (2 to MAX_TOKENS,).
        """
        encoded = self._tokenizer.encode(words)
        return np.array(encoded.ids, np.int64), np.array(encoded.attention_mask, np.int64)


def read_prompt(prompt: bytes) -> str:
    """The prompt's text, its ends stripped. Raises BadPrompt or PromptTooLong."""
    if len(prompt) > 4 * MAX_PROMPT_CHARACTERS:  # UTF-8 takes at most 4 bytes a character
        raise PromptTooLong(
            f"prompt: {len(prompt)} bytes: at most {MAX_PROMPT_CHARACTERS} characters are read; "
            "shorten it"
        )
    try:
        words = prompt.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise BadPrompt(f"prompt: byte {error.start} is not UTF-8: send UTF-8 text") from None
    if len(words) > MAX_PROMPT_CHARACTERS:
        raise PromptTooLong(
            f"prompt: {len(words)} characters: at most {MAX_PROMPT_CHARACTERS} are read; shorten it"
        )
    for character in words:
        if unicodedata.category(character) == "Cc" and character not in "\t\n\r":
            raise BadPrompt(
                f"prompt: holds the control character U+{ord(character):04X}: send plain words"
            )
    return words
