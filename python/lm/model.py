"""The Transformer: embedding, pre-norm blocks of attention and SwiGLU, final norm, untied output head.

    x = embedding(ids)
    for each layer:  x = x + attention(norm(x));  x = x + mlp(norm(x))
    logits = head(norm(x))

Initialisation is "torch" (what torch's layers do by themselves, as the reference run) or "scaled": normal
with standard deviation 0.02, the two projections that write into the residual stream divided by sqrt(2 *
layers), so that the stream does not grow with depth.
"""

import math

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lm.attention import CausalSelfAttention, KVCache, rope_tables
from lm.config import ModelConfig
from lm.nn import Embedding, Linear, RMSNorm, SwiGLU, linear_cross_entropy


class Block(nn.Module):
    """One layer: attention, then SwiGLU, each on a normalised copy of the residual stream."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model)
        self.attention = CausalSelfAttention(
            config.d_model, config.num_heads, qk_norm=config.qk_norm, kernel=config.attention
        )
        self.mlp_norm = RMSNorm(config.d_model)
        self.mlp = SwiGLU(config.d_model, config.d_ff)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], cache: KVCache | None = None) -> Tensor:
        """Map (B, T, d_model) to the same shape."""
        x = x + self.attention(self.attention_norm(x), rope, cache)
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]


class TransformerLM(nn.Module):
    """Decoder-only language model.

    Example:
        >>> TransformerLM(ModelConfig(vocab_size=100))(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 100])
    """

    rope_cos: Tensor
    rope_sin: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_activations = False
        self.embedding = Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.d_model)
        self.head = None if config.tie_embeddings else Linear(config.d_model, config.vocab_size)
        head_dim = config.d_model // config.num_heads
        cos, sin = rope_tables(head_dim, config.context_length, config.rope_theta)
        # Buffers move with the model; a function of the configuration, so no part of a checkpoint.
        self.register_buffer("rope_cos", cos, persistent=False)
        self.register_buffer("rope_sin", sin, persistent=False)
        if config.init == "scaled":
            self.init_scaled(config.init_std)

    @torch.no_grad()
    def init_scaled(self, std: float) -> None:
        """Draw matrices from N(0, std^2), those that write to the residual stream scaled down by depth."""
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                writes_residual = name.endswith(("attention.out.weight", "mlp.down.weight"))
                scale = 1 / math.sqrt(2 * self.config.num_layers) if writes_residual else 1.0
                nn.init.normal_(parameter, std=std * scale)

    @property
    def head_weight(self) -> Tensor:
        """The (vocab_size, d_model) matrix of the output head."""
        return self.embedding.weight if self.head is None else self.head.weight

    def hidden(self, ids: Tensor, caches: list[KVCache] | None = None) -> Tensor:
        """Map (B, T) ids to (B, T, d_model), the normalised input of the head; ValueError if too long.

        With caches of sequences of different length, T is 1.
        """
        lengths, num_new = caches[0].lengths.tolist() if caches else [0], ids.shape[1]
        end = max(lengths) + num_new
        if end > self.config.context_length:
            raise ValueError(f"{end} tokens do not fit the context length {self.config.context_length}")
        rope = (self.rope_cos[end - num_new : end], self.rope_sin[end - num_new : end])
        if min(lengths) < max(lengths):
            positions = torch.tensor(lengths, device=ids.device)[:, None]  # (B, 1)
            rope = (self.rope_cos[positions], self.rope_sin[positions])  # (B, 1, D / 2)
        x = self.embedding(ids)
        for index, layer in enumerate(self.layers):
            if self.checkpoint_activations and self.training:
                # reentrant checkpointing gives NaN on Apple GPUs: instructlab#3533
                x = checkpoint(layer, x, rope, use_reentrant=False)
            else:
                x = layer(x, rope, caches[index] if caches else None)
        return self.norm(x)  # type: ignore[no-any-return]

    def forward(self, ids: Tensor, targets: Tensor | None = None) -> Tensor:
        """Return (B, T, vocab_size) logits, or, given (B, T) targets, the mean loss in nats."""
        x = self.hidden(ids)
        if targets is not None:
            return linear_cross_entropy(x, self.head_weight, targets)
        return x @ self.head_weight.T

    def new_caches(self, batch_size: int = 1) -> list[KVCache]:
        """Return an empty key-value cache for each layer."""
        c, like = self.config, self.embedding.weight.detach()
        shape = (batch_size, c.num_heads, c.context_length, c.d_model // c.num_heads)
        return [KVCache(*shape, like) for _ in range(c.num_layers)]

    def num_parameters(self) -> int:
        """Return the number of trained numbers."""
        return sum(p.numel() for p in self.parameters())

    def flops_per_token(self) -> int:
        """Return the floating-point operations of forward and backward for one training token.

        Six for each weight of a matrix product, and the two products of attention over the full context.
        """
        c = self.config
        weights = sum(p.numel() for p in self.parameters() if p.ndim == 2)
        if self.head is not None:  # the embedding is looked up, not multiplied
            weights -= self.embedding.weight.numel()
        return 6 * weights + 12 * c.num_layers * c.d_model * c.context_length
