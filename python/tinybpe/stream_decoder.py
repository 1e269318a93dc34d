"""Text out of ids that come one by one."""

import codecs

from tinybpe.arguments import check_errors, check_type
from tinybpe.ids import Ids, listed_ids
from tinybpe.tokenizer import Tokenizer


class StreamDecoder:
    r"""Ids to text as a model generates them: a character appears when its last byte does.

    Example:
        >>> tokenizer = Tokenizer.train_from_iterator(["low lower"], vocab_size=258)
        >>> decoder = StreamDecoder(tokenizer)
        >>> [decoder.push(i) for i in tokenizer.encode("low\N{SNOWMAN}")]
        ['low', '', '', '☃']
        >>> decoder.push(0xE2), decoder.finish()
        ('', '�')

    Args:
        tokenizer: What the ids are of.
        errors: What to do with bytes that are not UTF-8, as in `bytes.decode`.
    """

    def __init__(self, tokenizer: Tokenizer, errors: str = "replace") -> None:
        self._tokenizer = check_type("tokenizer", tokenizer, Tokenizer, "a Tokenizer")
        self._decoder = codecs.getincrementaldecoder("utf-8")(check_errors(errors))
        self._begins = True

    def push(self, ids: int | Ids) -> str:
        """Take the next id, or several, and return the characters that they complete.

        Raises:
            UnknownTokenError: An id is not in the vocabulary.
            UnicodeDecodeError: `errors` is `strict` and the bytes are not UTF-8.
        """
        # One of NumPy's numbers is one id as well, and a tensor without dimensions.
        is_one = isinstance(ids, int) or (hasattr(ids, "__index__") and getattr(ids, "ndim", 1) == 0)
        listed: Ids = [ids] if is_one else ids  # type: ignore[list-item, assignment]
        known = listed_ids(listed)
        text = self._tokenizer.decode_tokens(known)
        if self._begins and text:
            # An imported tokenizer may put a space before a text.
            text = self._tokenizer.decode_bytes(known)
            self._begins = False
        return self._decoder.decode(text)

    def finish(self) -> str:
        """Return what an unfinished character at the end decodes to; the decoder starts afresh."""
        text = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        self._begins = True
        return text

    def __repr__(self) -> str:
        return f"StreamDecoder({self._tokenizer!r}, errors={self._decoder.errors!r})"
