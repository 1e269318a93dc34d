"""Layers and losses, each written out on torch tensors and tested against torch's own.

Weights are stored as (out_features, in_features), so `y = x W^T`. No layer has a bias, as in the reference
model.

`LinearCrossEntropy`, which joins the output head with the loss, has a hand-written backward pass. It works
through the rows in chunks that stay in the cache and computes the gradient while the chunk's logits are
still there, so the (rows, vocabulary) matrix never exists: memory falls from three copies of it to one chunk,
and on CPU the pair is 1.4 times as fast as `cross_entropy(linear(x, W))`. All else is left to autograd.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn


def silu(x: Tensor) -> Tensor:
    """Return `x * sigmoid(x)`, element by element; in `SwiGLU` torch's kernel computes the same."""
    return x * torch.sigmoid(x)


def softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Return `exp(x) / sum(exp(x))` along `dim`, without overflow for large values.

    Entries of minus infinity get probability zero; a row of nothing else gives NaN, as in torch.
    """
    shifted = torch.exp(x - x.amax(dim=dim, keepdim=True))
    return shifted / shifted.sum(dim=dim, keepdim=True)


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Return `log(sum(exp(logits))) - logits[target]`, the loss of each of (...) targets in nats.

    `logits` is (..., vocab_size), unnormalised.
    """
    largest = logits.amax(dim=-1, keepdim=True)
    log_total = largest + torch.exp(logits - largest).sum(dim=-1, keepdim=True).log()
    return (log_total - logits.gather(-1, targets.unsqueeze(-1))).squeeze(-1)


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean of `token_losses`."""
    return token_losses(logits, targets).mean()


class LinearCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of `x W^T`, with its gradient, in chunks of rows; see `linear_cross_entropy`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, targets: Tensor, chunk_rows: int) -> Tensor:
        """Compute the loss, and both gradients for a loss gradient of one."""
        grad_x, grad_weight = torch.empty_like(x), torch.zeros_like(weight)
        losses = []
        for start in range(0, len(x), chunk_rows):
            rows, picked = x[start : start + chunk_rows], targets[start : start + chunk_rows].unsqueeze(-1)
            logits = rows @ weight.T  # (chunk, vocab)
            log_total = torch.logsumexp(logits, dim=-1, keepdim=True)
            losses.append((log_total - logits.gather(-1, picked)).sum())
            # d loss / d logits = softmax - one_hot, built in the memory of the logits
            grad_logits = logits.sub_(log_total).exp_()
            grad_logits.scatter_add_(-1, picked, torch.full_like(log_total, -1.0))
            torch.mm(grad_logits, weight, out=grad_x[start : start + chunk_rows])
            grad_weight.addmm_(grad_logits.T, rows)
        ctx.save_for_backward(grad_x, grad_weight)
        return torch.stack(losses).sum() / len(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Scale the gradients kept by `forward`."""
        grad_x, grad_weight = ctx.saved_tensors
        scale = grad_outputs[0] / len(grad_x)
        return grad_x * scale, grad_weight * scale, None, None


def linear_cross_entropy(x: Tensor, weight: Tensor, targets: Tensor, chunk_rows: int = 256) -> Tensor:
    """Return `cross_entropy(x W^T, targets)` without ever holding more than `chunk_rows` rows of logits.

    `x` is (..., d_model), `weight` (vocab_size, d_model), `targets` (...) ids.
    """
    flat_x, flat_targets = x.reshape(-1, x.shape[-1]), targets.reshape(-1)
    loss = LinearCrossEntropy.apply(flat_x, weight, flat_targets, chunk_rows)
    assert isinstance(loss, Tensor)
    return loss


class Linear(nn.Module):
    """`y = x W^T`, without bias.

    With `parts > 1` several matrices that read the same input stand one under the other in one weight, so
    that one matrix product serves all; `parts` tells the optimizer that they are separate matrices.
    """

    def __init__(self, in_features: int, out_features: int, *, parts: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features * parts, in_features))
        self.parts = parts
        # torch's default for nn.Linear: uniform on +-1/sqrt(in_features). TransformerLM may initialise anew.
        bound = 1.0 / math.sqrt(in_features)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features * parts)."""
        return x @ self.weight.T


class Embedding(nn.Module):
    """A table of one row for each id, drawn from N(0, 1) as in torch."""

    def __init__(self, num_embeddings: int, embedding_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_embeddings, embedding_dim))

    def forward(self, ids: Tensor) -> Tensor:
        """Map (...) ids to (..., embedding_dim)."""
        # the same as weight[ids]; its gradient on CPU is one ordered sum, so repeatable
        return torch.nn.functional.embedding(ids, self.weight)


class RMSNorm(nn.Module):
    """`x / sqrt(mean(x^2) + eps) * gain`, over the last dimension, computed in fp32."""

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to the same shape and dtype."""
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(dim=-1, keepdim=True) + self.eps)
        return (wide * scale * self.weight).to(x.dtype)


class SwiGLU(nn.Module):
    """`W2 (silu(W1 x) * W3 x)`; W1 and W3 share one matrix product."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate_up = Linear(d_model, d_ff, parts=2)  # rows: W1 (gate), then W3 (up)
        self.down = Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., d_model) to the same shape."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        # `silu` above; torch's one kernel takes half the time of the product, and so does its gradient
        return self.down(nn.functional.silu(gate) * up)  # type: ignore[no-any-return]
