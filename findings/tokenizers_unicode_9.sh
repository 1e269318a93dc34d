#!/usr/bin/env bash
# tokenizers 0.23.3: NFC, NFD, NFKC, NFKD and StripAccents know no character that is newer than Unicode 9.0 (2016).
#
# Expected: Unicode's stability policy lets older implementations leave new characters as they are, but normalized text should
#   not depend on the library: Python's `unicodedata` composes U+11935 U+11930 (Dives Akuru, Unicode 13.0) to U+11938.
# Seen: `NFC` leaves both. The tables are those of `unicode-normalization-alignments`, which stopped at Unicode 9.0. So a
#   tokenizer that normalizes with another library gives other ids for the scripts that came since; `StripAccents` keeps their marks,
#   and takes U+1CF2 and U+1CF3, letters since 12.0, for marks.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PYTHON'
import unicodedata

from tokenizers import __version__
from tokenizers.normalizers import NFC, NFD, StripAccents

pair = "\U00011935\U00011930"
assert unicodedata.normalize("NFC", pair) == "\U00011938"
composed, decomposed = NFC().normalize_str(pair), NFD().normalize_str("\U00011938")
print(f"tokenizers {__version__}: NFC of {ascii(pair)} is {ascii(composed)}, NFD of U+11938 is {ascii(decomposed)}")
assert composed == pair and decomposed == "\U00011938"

marks = [c for c in map(chr, range(0x110000)) if unicodedata.category(c).startswith("M")]
kept = [c for c in marks if StripAccents().normalize_str(c)]
odd = [c for c in "\u1cf2\u1cf3" if not StripAccents().normalize_str(c)]
print(f"StripAccents keeps {len(kept)} of {len(marks)} marks, the first {ascii(kept[0])}, and takes the letters {ascii(odd)}")
assert "\u07fd" in kept and odd == ["\u1cf2", "\u1cf3"]
PYTHON
