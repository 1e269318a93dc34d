#!/usr/bin/env bash
# tokenizers 0.23.3: an added token with `normalized` comes back from `decode` and `id_to_token` changed by the normalizer.
#
# Expected: `id_to_token(token_to_id("<NA>"))` and the decoded text give the token as it was added, `<NA>`, as those of a token
#   without `normalized` do, and as `get_added_tokens_decoder` and the saved file do.
# Seen: with the normalizer Lowercase they give `<na>`, with Prepend one character more, while `token_to_id("<na>")` knows no such
#   token. So text that is decoded with special tokens cannot be searched for the token by its name.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PYTHON'
from tokenizers import AddedToken, Tokenizer, __version__, models, normalizers

tokenizer = Tokenizer(models.BPE(vocab={"a": 0}, merges=[]))
tokenizer.normalizer = normalizers.Lowercase()
tokenizer.add_tokens([AddedToken("<NA>", normalized=True), AddedToken("<QA>", normalized=False)])
ids = tokenizer.encode("a<NA>a<QA>").ids
decoded = tokenizer.decode(ids, skip_special_tokens=False)
print(f"tokenizers {__version__}: {ids} is {decoded!r}, id 1 is {tokenizer.id_to_token(1)!r}")
assert tokenizer.token_to_id("<NA>") == 1 and tokenizer.token_to_id("<na>") is None
assert tokenizer.get_added_tokens_decoder()[1].content == "<NA>"
assert decoded == "a <na> a <QA>" and tokenizer.id_to_token(1) == "<na>"
PYTHON
