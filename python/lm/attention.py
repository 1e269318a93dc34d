"""Causal multi-head self-attention with rotary positions and a key-value cache.

Shapes: B batch, T new tokens, S keys (cached and new), H heads, D head dimension.

`scaled_dot_product_attention` is the definition. Training uses torch's fused kernel (`kernel="fused"`), the
same function without the (T, S) matrix in memory; `kernel="masked"` is torch's kernel with an explicit mask
and contiguous inputs, the form in which it is right on Apple GPUs:

* pytorch#195910: `is_causal=True` lets fp16 and bf16 queries see up to three future tokens there;
* pytorch#181133, #163597: wrong results for permuted queries, keys and values;
* pytorch#174861: the two-pass kernel reads out of bounds (fixed in 2.11).
"""

import copy
import math

import torch
from torch import Tensor, nn

from lm.nn import Linear, RMSNorm, softmax


def causal_mask(num_queries: int, num_keys: int, device: torch.device | str | None = None) -> Tensor:
    """Return (T, S) booleans: True where a query may see a key. The last query stands at the last key."""
    ones = torch.ones(num_queries, num_keys, dtype=torch.bool, device=device)
    return ones.tril(diagonal=num_keys - num_queries)


def scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return `softmax(q k^T / sqrt(D)) v` for (..., T, D) queries and (..., S, D) keys and values.

    `mask` is broadcastable to (..., T, S), True where the query may see the key; None for all.
    """
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-2, -1)  # (..., T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    return softmax(scores) @ v


def rope_tables(head_dim: int, length: int, theta: float) -> tuple[Tensor, Tensor]:
    """Return cos and sin of `position * theta^(-2i / D)`, each (length, D / 2), computed in fp64."""
    frequencies = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angles = torch.outer(torch.arange(length, dtype=torch.float64), frequencies)
    return angles.cos().float(), angles.sin().float()


def rotate_pairs(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate each adjacent pair (x[2i], x[2i+1]) of (..., D) by its angle, as in the RoFormer paper.

    `cos` and `sin` are broadcastable to (..., D / 2).
    """
    pairs = x.view(*x.shape[:-1], -1, 2)  # (..., D / 2, 2)
    if x.device.type == "cpu" and x.dtype == torch.float32 and not torch.compiler.is_compiling():
        # One complex product takes a third of the time of the same in real numbers, forward and backward;
        # compilers and other devices know complex numbers less well.
        turned = torch.view_as_complex(pairs) * torch.complex(cos, sin)
        return torch.view_as_real(turned).flatten(-2)
    even, odd = pairs.unbind(-1)
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class KVCache:
    """Keys and values of the tokens seen so far in one layer, in memory allocated once.

    `lengths` is (B,), on the CPU: how many tokens of each sequence are stored. Sequences of different length
    take one new token at a time.
    """

    def __init__(self, batch_size: int, num_heads: int, length: int, head_dim: int, like: Tensor) -> None:
        self.k = like.new_zeros(batch_size, num_heads, length, head_dim)
        self.v = torch.zeros_like(self.k)
        self.lengths = torch.zeros(batch_size, dtype=torch.long)

    def select(self, sequences: slice | list[int]) -> "KVCache":
        """Return the cache of some of the sequences: of a slice a view of this one, of a list a copy."""
        part = copy.copy(self)
        part.k, part.v, part.lengths = self.k[sequences], self.v[sequences], self.lengths[sequences]
        return part

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Store (B, H, T, D) new keys and values; return all of them so far, and who may see whom.

        The last is None where the sequences have one length, else (B, 1, 1, S): True where the one new token
        of a sequence may see a key.
        """
        before, num_new = self.lengths.tolist(), k.shape[-2]
        end = max(before) + num_new
        mask = None
        if min(before) == max(before):
            self.k[:, :, end - num_new : end] = k
            self.v[:, :, end - num_new : end] = v
        else:
            assert num_new == 1, "sequences of different length take one token at a time"
            at = self.lengths.to(k.device)
            self.k[torch.arange(len(at)), :, at] = k[:, :, 0]
            self.v[torch.arange(len(at)), :, at] = v[:, :, 0]
            mask = (torch.arange(end, device=k.device) <= at[:, None])[:, None, None]
        self.lengths += num_new
        return self.k[:, :, :end], self.v[:, :, :end], mask


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention in which each token sees itself and what stands before it.

    `qk_norm` normalises queries and keys of each head before the rotation; `kernel` is one of "fused",
    "masked", "explicit", or "auto": "masked" on Apple GPUs, else "fused".
    """

    def __init__(self, d_model: int, num_heads: int, *, qk_norm: bool = False, kernel: str = "auto") -> None:
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"d_model {d_model} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.head_dim = d_model // num_heads
        self.kernel = kernel
        self.qkv = Linear(d_model, d_model, parts=3)  # rows: queries, keys, values, each head by head
        self.out = Linear(d_model, d_model)
        self.q_norm = RMSNorm(self.head_dim) if qk_norm else None
        self.k_norm = RMSNorm(self.head_dim) if qk_norm else None

    def forward(
        self, x: Tensor, rope: tuple[Tensor, Tensor] | None = None, cache: KVCache | None = None
    ) -> Tensor:
        """Map (B, T, d_model) to the same shape.

        `rope` is cos and sin of the tokens' positions, each (T, D / 2), or (B, T, D / 2) where they differ
        from sequence to sequence, or None for attention without positions; `cache` holds the keys and values
        of the tokens before, and takes the new ones.
        """
        batch, length, d_model = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.num_heads, self.head_dim)  # (B, T, 3, H, D)
        # one split, since its backward pass joins the parts once; slices would each fill and add a whole qkv
        qk, v = qkv.split((2, 1), dim=2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = qk.unbind(dim=2)
            qk = torch.stack((self.q_norm(q), self.k_norm(k)), dim=2)
        if rope is not None:
            cos, sin = rope
            qk = rotate_pairs(qk, cos[..., None, None, :], sin[..., None, None, :])  # (B, T, 2, H, D)
        q, k = (part.transpose(1, 2) for part in qk.unbind(dim=2))  # (B, H, T, D)
        v = v.squeeze(2).transpose(1, 2)
        mask = None
        if cache is not None:
            k, v, mask = cache.append(k, v)
        y = self.attend(q, k, v, mask)
        return self.out(y.transpose(1, 2).reshape(batch, length, d_model))  # type: ignore[no-any-return]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Apply the chosen kernel to (B, H, T, D) queries and (B, H, S, D) keys and values.

        `mask` is broadcastable to (B, H, T, S), True where the query may see the key; causal if None.
        """
        kernel = self.kernel
        if kernel == "auto":
            kernel = "masked" if q.device.type == "mps" else "fused"
        num_queries, num_keys = q.shape[-2], k.shape[-2]
        if kernel == "fused" and mask is None and (num_queries == num_keys or num_queries == 1):
            # torch's is_causal puts the first query at the first key: right without a cache, and needless for
            # one query
            return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=num_queries > 1)
        if mask is None:
            mask = causal_mask(num_queries, num_keys, q.device)
        if kernel == "explicit":
            return scaled_dot_product_attention(q, k, v, mask)
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
