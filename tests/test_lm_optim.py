"""Optimizers, clipping and schedules against torch's own and against closed forms."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from lm.config import OptimConfig
from lm.model import TransformerLM
from lm.optim import clip_gradients, make_optimizer, orthogonalize, rate_factor
from lm_tools import equal, tiny_model


def make(**changes: object) -> OptimConfig:
    return OptimConfig(**{"warmup_iters": 10, "cosine_cycle_iters": 110, **changes})  # type: ignore[arg-type]


def loss_of(model: TransformerLM, step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(0, 50, (4, 9), generator=generator)
    return model(ids[:, :-1], ids[:, 1:])


def test_adamw_equals_torch() -> None:
    torch.manual_seed(0)
    ours = TransformerLM(tiny_model())
    theirs = copy.deepcopy(ours)
    config = make(decay_all=True, lr=1e-2, beta2=0.99, weight_decay=0.3)
    a = make_optimizer(ours, config)
    b = torch.optim.AdamW(theirs.parameters(), lr=1e-2, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.3)
    for step in range(8):
        factor = 1.0 - step / 10
        b.param_groups[0]["lr"] = 1e-2 * factor
        for model in (ours, theirs):
            model.zero_grad()
            loss_of(model, step).backward()
        a.step(factor)
        b.step()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        equal(p, q, 1e-5)


def test_decay_groups() -> None:
    model = TransformerLM(tiny_model())
    optimizer = make_optimizer(model, make(weight_decay=0.1, embedding_lr_scale=3.0, lr=1e-3))
    groups = {name: g for g in optimizer.groups for name in g.names}
    assert groups["layers.0.attention.qkv.weight"].weight_decay == 0.1
    assert groups["head.weight"].weight_decay == 0.1
    assert groups["embedding.weight"].weight_decay == 0
    assert groups["norm.weight"].weight_decay == 0
    assert groups["embedding.weight"].lr == pytest.approx(3e-3)
    everywhere = make_optimizer(model, make(weight_decay=0.1, decay_all=True))
    assert {g.weight_decay for g in everywhere.groups} == {0.1}


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (3, 5, 5)])
def test_orthogonalize(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(shape)
    values = torch.linalg.svdvals(orthogonalize(x, steps=10))
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    assert float((orthogonalize(x, steps=10) * (u @ vh)).sum()) / (u @ vh).square().sum() > 0.8


def test_muon_equals_torch() -> None:
    """torch's runs its iteration in bf16, hence the tolerance."""
    torch.manual_seed(0)
    model = TransformerLM(tiny_model(d_model=32, d_ff=64))
    config = make(optimizer="muon", muon_lr=0.02, muon_momentum=0.9, muon_weight_decay=0.1)
    weight = model.layers[0].mlp.down.weight  # type: ignore[union-attr]
    theirs = torch.nn.Parameter(weight.detach().clone())  # type: ignore[union-attr, operator]
    ours = make_optimizer(model, config)
    other = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.1, momentum=0.9, nesterov=True)
    for step in range(4):
        model.zero_grad()
        loss_of(model, step).backward()
        before = weight.detach().clone()
        theirs.grad = weight.grad.clone()  # type: ignore[union-attr]
        with torch.no_grad():
            theirs.copy_(before)
        ours.step()
        other.step()
        a, b = weight.detach() - before, theirs.detach() - before
        assert float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)) > 0.99
        assert float(a.norm() / b.norm()) == pytest.approx(1, abs=0.05)


def test_muon_treats_stacked_matrices_one_by_one() -> None:
    torch.manual_seed(0)
    model = TransformerLM(tiny_model())
    optimizer = make_optimizer(model, make(optimizer="muon", muon_lr=1.0))
    name, p = "layers.0.attention.qkv.weight", model.get_parameter("layers.0.attention.qkv.weight")
    loss_of(model, 0).backward()
    before = p.detach().clone()
    optimizer.step()
    for part in (before - p.detach()).split(8):
        assert float(torch.linalg.matrix_norm(part, 2)) < 1.3
    assert optimizer.parts[name] == 3
    assert "layers.0.attention.qkv.weight.momentum" in optimizer.state
    assert "head.weight.mean" in optimizer.state


@pytest.mark.parametrize("limit", [0.0, 0.01, 100.0])
def test_clip_equals_torch(limit: float) -> None:
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(s)) for s in ((3, 4), (5,))]
    for p in ours:
        p.grad = torch.randn_like(p)
    theirs = copy.deepcopy(ours)
    for p, q in zip(ours, theirs, strict=True):
        q.grad = p.grad.clone()  # type: ignore[union-attr]
    norm = clip_gradients(ours, limit)
    equal(norm, torch.nn.utils.clip_grad_norm_(theirs, limit or math.inf))
    for p, q in zip(ours, theirs, strict=True):
        equal(p.grad, q.grad)  # type: ignore[arg-type]


def test_schedules() -> None:
    cosine = make(schedule="cosine", lr=1.0, min_lr=0.1)
    assert rate_factor(0, cosine) == 0
    assert rate_factor(5, cosine) == 0.5
    assert rate_factor(10, cosine) == 1
    assert rate_factor(60, cosine) == pytest.approx(0.55)
    assert rate_factor(110, cosine) == rate_factor(10**9, cosine) == pytest.approx(0.1)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(
        torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0), T_max=100, eta_min=0.1
    )
    for step in range(10, 110):
        assert rate_factor(step, cosine) == pytest.approx(theirs.get_last_lr()[0], abs=1e-9)
        theirs.optimizer.step()
        theirs.step()
    linear = make(schedule="linear", lr=1.0)
    assert [rate_factor(s, linear) for s in (0, 9, 10, 60, 110)] == pytest.approx([0.1, 1, 1, 0.5, 0])
    wsd = make(schedule="wsd", lr=1.0, decay_fraction=0.5)
    assert [rate_factor(s, wsd) for s in (10, 60, 85, 110)] == pytest.approx([1, 1, 0.5, 0])
    assert rate_factor(10**6, make(schedule="constant")) == 1


def test_overfits_one_batch() -> None:
    for optimizer in ("adamw", "muon"):
        torch.manual_seed(0)
        model = TransformerLM(tiny_model(d_model=32, d_ff=64))
        stepper = make_optimizer(model, make(optimizer=optimizer, lr=1e-2, weight_decay=0.0))
        for _ in range(120):
            stepper.zero_grad()
            loss = loss_of(model, 1)
            loss.backward()
            clip_gradients(model.parameters(), 1.0)
            stepper.step()
        assert float(loss.detach()) < 0.05
