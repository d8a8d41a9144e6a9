"""The text of each token of a byte-level tokenizer, whose tokens may end within a character."""

import codecs
from collections.abc import Sequence
from typing import Any

from vsnn_lab._basics.checks import short_repr


class TokenTexts:
    """What the tokens of a byte-level tokenizer stand for.

    Args:
        tokenizer: A ``tokenizers.Tokenizer``, such as that of a `vsnn_lab.data.text.TextSet`.
        vocabulary: Tokens of the model that reads and writes them.

    Raises:
        ImportError: If the package ``tokenizers`` is not installed.
        TypeError: If ``tokenizer`` is none.
        ValueError: If its tokens are not those of the model, or no bytes.
    """

    def __init__(self, tokenizer: Any, vocabulary: int) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise ImportError(
                "text needs the package tokenizers; pip install vsnn-lab[text] brings it",
                name="tokenizers",
            ) from error
        if not isinstance(tokenizer, Tokenizer):
            raise TypeError(
                f"tokenizer must be a tokenizers.Tokenizer, got {short_repr(tokenizer)}; that of a "
                "TextSet is its tokenizer"
            )
        letters, names = _byte_by_letter(), tokenizer.get_vocab()
        if sorted(names.values()) != [*range(vocabulary)]:
            raise ValueError(
                f"tokenizer must have the {vocabulary:,} tokens of the model, got {len(names):,}"
            )
        strange = next((name for name in names if not {*name} <= {*letters}), None)
        if strange is not None:
            raise ValueError(
                f"tokenizer must be byte-level, got the token {short_repr(strange)}, whose letters "
                "stand for no bytes"
            )
        self._tokenizer = tokenizer
        self.bytes = [b""] * vocabulary
        for name, index in names.items():
            self.bytes[index] = bytes(letters[letter] for letter in name)

    def encode(self, name: str, text: str) -> list[int]:
        """Return the tokens of a text, which they give back to the byte.

        Raises:
            ValueError: If they do not, named ``name``; then bits per byte would be those of another
                text.
        """
        try:
            wanted = text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{name} must be text of whole characters, got {error}") from error
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        if b"".join(self.bytes[index] for index in ids) != wanted:
            raise ValueError(
                f"{name} must come back from its tokens as it is, got "
                f"{short_repr(''.join(self.texts(ids)))}; tokenizer must be byte-level and "
                "leave text as it is"
            )
        return ids

    def texts(self, ids: Sequence[int], *, whole: bool = True) -> list[str]:
        """Return the text that each token adds to those before it.

        A character that several tokens make up comes with the last of them; what is no UTF-8 comes
        as U+FFFD.

        Args:
            ids: Tokens, from the start of a character.
            whole: Whether no more are to come, so that a character left unfinished is none.
        """
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        found = [decoder.decode(self.bytes[index]) for index in ids]
        if whole and found:
            found[-1] += decoder.decode(b"", True)
        return found


def _byte_by_letter() -> dict[str, int]:
    """Return the byte that each letter of a byte-level token stands for: GPT-2's own choice.

    Bytes that are seen in print stand for themselves, the others for letters from 256 on.
    """
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [each for each in range(256) if each not in printed]
    found = {chr(each): each for each in printed}
    return found | {chr(256 + place): each for place, each in enumerate(others)}
