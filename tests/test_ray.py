"""Training on Ray: an engine maps counting over shards and reduces the counts, one process trains.

`uv run --group ray pytest -m slow tests/test_ray.py` runs it on a local cluster; on a real one, `ray.init` is
the only line that differs. Any other engine needs the same three: `WordCounts.from_files`, `+` and
`Tokenizer.train_from_counts`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tinybpe import Tokenizer, WordCounts

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
