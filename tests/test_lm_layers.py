"""Each layer, loss and attention against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from lm import attention, nn
from lm.attention import CausalSelfAttention, KVCache, causal_mask, rope_tables, rotate_pairs
from lm.model import Block, TransformerLM
from lm_tools import equal, tiny_model


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def with_grad(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.randn(s, requires_grad=True) for s in shapes]


def compare(ours: torch.Tensor, theirs: torch.Tensor, inputs: list[torch.Tensor]) -> None:
    """Equal outputs, equal gradients."""
    equal(ours, theirs)
    probe = torch.randn_like(ours)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, probe), torch.autograd.grad(theirs, inputs, probe), strict=True
    ):
        equal(a, b, 1e-4)


def test_silu_and_softmax() -> None:
    (x,) = with_grad((3, 5))
    compare(nn.silu(x), F.silu(x), [x])
    compare(nn.softmax(x, dim=0), torch.softmax(x, dim=0), [x])
    equal(nn.softmax(torch.tensor([1e4, 1e4, -1e4])), torch.tensor([0.5, 0.5, 0.0]))
    masked = torch.tensor([0.0, float("-inf")])
    equal(nn.softmax(masked), torch.tensor([1.0, 0.0]))


def test_cross_entropy() -> None:
    (logits,) = with_grad((2, 7, 11))
    targets = torch.randint(0, 11, (2, 7))
    compare(
        nn.cross_entropy(logits, targets), F.cross_entropy(logits.flatten(0, 1), targets.flatten()), [logits]
    )
    huge = torch.tensor([[1e4, 0.0]])
    equal(nn.cross_entropy(huge, torch.tensor([0])), torch.tensor(0.0))


@pytest.mark.parametrize("chunk", [1, 3, 14, 100])
def test_linear_cross_entropy(chunk: int) -> None:
    x, weight = with_grad((2, 7, 4), (11, 4))
    targets = torch.randint(0, 11, (2, 7))
    theirs = F.cross_entropy(F.linear(x, weight).flatten(0, 1), targets.flatten())
    compare(nn.linear_cross_entropy(x, weight, targets, chunk), theirs, [x, weight])
    assert torch.autograd.gradcheck(
        lambda a, b: nn.linear_cross_entropy(a, b, targets, chunk), (x.double(), weight.double())
    )


def test_linear_embedding_norm_swiglu() -> None:
    linear, theirs = nn.Linear(4, 6), torch.nn.Linear(4, 6, bias=False)
    assert linear.weight.shape == theirs.weight.shape
    assert float(linear.weight.detach().abs().max()) <= 0.5  # 1 / sqrt(4), as torch
    (x,) = with_grad((2, 3, 4))
    compare(linear(x), F.linear(x, linear.weight), [x, linear.weight])
    embedding = nn.Embedding(10, 4)
    ids = torch.randint(0, 10, (2, 3))
    equal(embedding(ids), F.embedding(ids, embedding.weight))
    norm = nn.RMSNorm(4)
    torch.nn.init.normal_(norm.weight)
    compare(norm(x), F.rms_norm(x, (4,), norm.weight, 1e-5), [x, norm.weight])
    swiglu = nn.SwiGLU(4, 6)
    gate, up = swiglu.gate_up.weight.split(6)
    expected = F.linear(nn.silu(F.linear(x, gate)) * F.linear(x, up), swiglu.down.weight)
    compare(swiglu(x), expected, [x, swiglu.gate_up.weight, swiglu.down.weight])


@pytest.mark.parametrize("masked", [False, True])
def test_attention_function(masked: bool) -> None:
    q, k, v = with_grad((2, 3, 5, 4), (2, 3, 7, 4), (2, 3, 7, 4))
    mask = causal_mask(5, 7) if masked else None
    compare(
        attention.scaled_dot_product_attention(q, k, v, mask),
        F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
        [q, k, v],
    )


def test_rope_rotates_adjacent_pairs() -> None:
    """As complex numbers: the pair (2i, 2i + 1) is multiplied by exp(i * position * theta^(-2i / D))."""
    (x,) = with_grad((2, 6, 3, 8))
    cos, sin = rope_tables(8, 6, 10_000.0)
    turn = torch.polar(
        torch.ones(6, 4), torch.outer(torch.arange(6.0), 10_000.0 ** (-torch.arange(0, 8, 2) / 8))
    )
    theirs = torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (4, 2))) * turn[:, None]).flatten(-2)
    compare(rotate_pairs(x, cos[:, None], sin[:, None]), theirs, [x])


def test_rope_scores_depend_on_distance_only() -> None:
    q, k = torch.randn(8), torch.randn(8)
    cos, sin = rope_tables(8, 50, 10_000.0)
    at = [
        float(rotate_pairs(q, cos[i + 3], sin[i + 3]) @ rotate_pairs(k, cos[i], sin[i])) for i in (0, 7, 40)
    ]
    assert at == pytest.approx([at[0]] * 3, abs=1e-5)


@pytest.mark.parametrize("kernel", ["fused", "masked", "explicit"])
def test_self_attention_equals_multihead_attention(kernel: str) -> None:
    """Without positions it is torch.nn.MultiheadAttention; masked is the path taken on Apple GPUs."""
    ours, theirs = (
        CausalSelfAttention(16, 4, kernel=kernel),
        torch.nn.MultiheadAttention(16, 4, bias=False, batch_first=True),
    )
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.out_proj.weight.copy_(ours.out.weight)
    (x,) = with_grad((2, 5, 16))
    expected, _ = theirs(x, x, x, attn_mask=~causal_mask(5, 5), need_weights=False)
    compare(ours(x), expected, [x])


@pytest.mark.parametrize("kernel", ["fused", "masked"])
@pytest.mark.parametrize("qk_norm", [False, True])
def test_kernels_agree_with_rope(kernel: str, qk_norm: bool) -> None:
    ours = CausalSelfAttention(16, 2, kernel="explicit", qk_norm=qk_norm)
    other = CausalSelfAttention(16, 2, kernel=kernel, qk_norm=qk_norm)
    other.load_state_dict(ours.state_dict())
    (x,) = with_grad((2, 6, 16))
    rope = rope_tables(8, 6, 10_000.0)
    compare(ours(x, rope), other(x, rope), [x])


def test_cache_in_uneven_steps_equals_no_cache() -> None:
    for kernel in ("fused", "masked", "explicit"):
        layer = CausalSelfAttention(16, 2, kernel=kernel)
        x, (cos, sin) = torch.randn(2, 7, 16), rope_tables(8, 7, 10_000.0)
        cache = KVCache(2, 2, 7, 8, x)
        parts = [layer(x[:, a:b], (cos[a:b], sin[a:b]), cache) for a, b in ((0, 3), (3, 4), (4, 6), (6, 7))]
        equal(torch.cat(parts, dim=1), layer(x, (cos, sin)))


def test_heads_have_to_divide_the_width() -> None:
    with pytest.raises(ValueError, match="not a multiple"):
        CausalSelfAttention(10, 3)


def test_block_is_pre_norm() -> None:
    block, config = Block(tiny_model()), tiny_model()
    rope = rope_tables(config.d_model // config.num_heads, 5, config.rope_theta)
    (x,) = with_grad((2, 5, 8))
    middle = x + block.attention(F.rms_norm(x, (8,), block.attention_norm.weight, 1e-5), rope)
    compare(block(x, rope), middle + block.mlp(F.rms_norm(middle, (8,), block.mlp_norm.weight, 1e-5)), [x])


def test_model_truncated_input_and_loss() -> None:
    model = TransformerLM(tiny_model())
    ids = torch.randint(0, 50, (2, 8))
    full = model(ids)
    assert full.shape == (2, 8, 50)
    for length in (1, 3, 7):
        equal(model(ids[:, :length]), full[:, :length])
    targets = torch.randint(0, 50, (2, 8))
    equal(model(ids, targets), F.cross_entropy(full.flatten(0, 1), targets.flatten()))
    with pytest.raises(ValueError, match="9 tokens do not fit the context length 8"):
        model(torch.zeros(1, 9, dtype=torch.long))


def test_model_is_causal_and_checkpointing_changes_nothing() -> None:
    model = TransformerLM(tiny_model())
    ids = torch.randint(0, 50, (2, 8))
    changed = ids.clone()
    changed[:, 5:] = 0
    torch.testing.assert_close(model(ids)[:, :5], model(changed)[:, :5], rtol=0, atol=0)
    gradients = []
    for flag in (False, True):
        model.checkpoint_activations = flag
        model.zero_grad()
        model(ids, ids).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        equal(a, b)


def test_options_of_the_model() -> None:
    tied = TransformerLM(tiny_model(tie_embeddings=True, qk_norm=True))
    assert tied.head_weight is tied.embedding.weight
    ids = torch.randint(0, 50, (2, 8))
    tied(ids, ids).backward()
    assert all(p.grad is not None for p in tied.parameters())
    scaled = TransformerLM(tiny_model(d_model=64, d_ff=128, init="scaled"))
    assert float(scaled.layers[0].mlp.gate_up.weight.std().detach()) == pytest.approx(0.02, rel=0.1)
    assert float(scaled.layers[0].mlp.down.weight.std().detach()) == pytest.approx(0.01, rel=0.1)


def test_reference_size() -> None:
    from lm.config import ModelConfig

    with torch.device("meta"):
        model = TransformerLM(ModelConfig(init="torch"))
    assert model.num_parameters() == 9_316_608
    assert 42e6 < model.flops_per_token() < 45e6
