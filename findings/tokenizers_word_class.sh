#!/usr/bin/env bash
# tokenizers 0.23.3 (Oniguruma): `\w` matches the superscripts and fractions of Latin-1 (² ³ ¹ ¼ ½ ¾) and no others.
#
# Expected: Oniguruma's documentation (doc/RE) lists letters, marks, decimal numbers and connector punctuation for `\w`; ½ is
#   none of these, no more than ⅓ or ⁴ are. So a pattern such as `\w+` should split `a½` and `a⅓` alike.
# Seen: `a½` is one piece, `a⅓` is two. So a tokenizer.json with `\w` or `\b` splits "2½" and "2⅓" differently, and differs from
#   engines with the tables of Unicode (fancy-regex, Python's `regex`) on six characters, and on the two joiners.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PYTHON'
import unicodedata

from tokenizers import Regex, __version__
from tokenizers.pre_tokenizers import Split

words = Split(Regex(r"\w+"), "isolated")
num_pieces = lambda text: len(words.pre_tokenize_str(text))
others = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) == "No"]
inside = [c for c in others if num_pieces("a" + c) == 1]
print(f"tokenizers {__version__}: of {len(others)} characters of category No, \\w matches {' '.join(inside)}")
assert inside == list("²³¹¼½¾"), inside
assert num_pieces("a½") == 1 and num_pieces("a⅓") == 2
PYTHON
