"""Training and encoding on Ray: an engine maps counting over shards and reduces the counts, one process
trains, and encoding is a map over shards again.

`uv run --group ray pytest -m slow tests/test_ray.py` runs it on a local cluster; on a real one, `ray.init` is
the only line that differs. Any other engine needs the same three: `WordCounts.from_files`, `+` and
`Tokenizer.train_from_counts`; for encoding the tokenizer itself, which is sent to the workers, and
`encode_file`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tinybpe import TokenFileInfo, Tokenizer, WordCounts

pytestmark = pytest.mark.slow

SPECIAL = "<|endoftext|>"
NUM_SHARDS = 5


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A local cluster of two workers, which use this environment as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        module = pytest.importorskip("ray", reason="needs Ray: uv run --group ray pytest -m slow")
        module.init(num_cpus=2, include_dashboard=False)
        yield module
        module.shutdown()


def test_map_and_reduce_equal_one_process(ray: Any, tmp_path: Path, stories: str) -> None:
    documents = stories.split(SPECIAL)
    shards = [tmp_path / f"{index}.txt" for index in range(NUM_SHARDS)]
    for index, shard in enumerate(shards):
        shard.write_text(SPECIAL.join(documents[index::NUM_SHARDS]), encoding="utf-8")

    @ray.remote  # type: ignore[untyped-decorator]
    def count(shard: Path) -> WordCounts:
        return WordCounts.from_files(shard, special_tokens=[SPECIAL], num_threads=1)

    @ray.remote  # type: ignore[untyped-decorator]
    def merge(left: WordCounts, right: WordCounts) -> WordCounts:
        return left + right

    parts = [count.remote(shard) for shard in shards]
    while len(parts) > 1:
        # Two of the oldest make one of the newest: a balanced tree, whatever the number of shards.
        parts = [*parts[2:], merge.remote(parts[0], parts[1])]
    counts = ray.get(parts[0])

    tokenizer = Tokenizer.train_from_counts(counts, vocab_size=1000)
    assert tokenizer == Tokenizer.train(shards, 1000, special_tokens=[SPECIAL])


def test_encoding_shards_equals_one_process(ray: Any, tmp_path: Path, stories: str) -> None:
    documents = stories.split(SPECIAL)
    shards = [tmp_path / f"{index}.txt" for index in range(NUM_SHARDS)]
    for index, shard in enumerate(shards):
        shard.write_text(
            "".join(f"{text}{SPECIAL}" for text in documents[index::NUM_SHARDS]), encoding="utf-8"
        )
    tokenizer = Tokenizer.train(shards, 500, special_tokens=[SPECIAL])

    @ray.remote  # type: ignore[untyped-decorator]
    def encode(tokenizer: Tokenizer, shard: Path) -> TokenFileInfo:
        return tokenizer.encode_file(shard, shard.with_suffix(".bin"), docs=True, num_threads=1)

    shared = ray.put(tokenizer)
    infos = ray.get([encode.remote(shared, shard) for shard in shards])
    whole = tokenizer.encode_file(shards, tmp_path / "whole.bin", docs=True)
    assert b"".join(info.path.read_bytes() for info in infos) == (tmp_path / "whole.bin").read_bytes()
    assert TokenFileInfo.of_set(tmp_path / "whole.bin", infos).num_documents == whole.num_documents
    ends, before = [], 0
    for info in infos:
        ends += [before + end for end in np.fromfile(f"{info.path}.docs", "<u8").tolist()]
        before += info.num_tokens
    assert ends == np.fromfile(tmp_path / "whole.bin.docs", "<u8").tolist()
