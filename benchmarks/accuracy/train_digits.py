"""Train ``digits-pair``: ``python -m benchmarks.accuracy.train_digits --out FILE.safetensors``."""

from __future__ import annotations

import argparse
import time
from collections import deque
from pathlib import Path

import torch
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.accuracy import digits
from evit_mobile.models.efficientvit import ReluLinearAttention
from evit_mobile.specs import Resolution

#: Part of the training in which there is one digit on a canvas.
ALONE = 0.25


def batch(canvases: list[digits.Canvas]) -> tuple[Tensor, Tensor]:
    """Images [B, 3, SIDE, SIDE] and labels [B]."""
    images = torch.from_numpy(digits.inputs(canvases)).permute(0, 3, 1, 2)
    return images, torch.tensor([canvas.label for canvas in canvases])


@torch.no_grad()
def accuracy(module: nn.Module, count: int = digits.TEST_CANVASES, size: int = 100) -> float:
    """Share of the first ``count`` test canvases that are answered rightly."""
    canvases = list(digits.test_canvases(count))
    right = 0
    for start in range(0, count, size):
        images, labels = batch(canvases[start : start + size])
        right += int((module(images).argmax(1) == labels).sum())
    return right / count


@torch.no_grad()
def without_attention(module: nn.Module) -> nn.Module:
    """``module`` itself, with every attention layer's output projection zero: what it adds to its residual is
    nothing.
    """
    for layer in module.modules():
        if isinstance(layer, ReluLinearAttention):
            nn.init.zeros_(layer.proj.weight)
            if layer.proj.bias is not None:
                nn.init.zeros_(layer.proj.bias)
    return module


def train(out: Path, steps: int, batch_size: int, rate: float, seed: int) -> nn.Module:
    """AdamW with a one-cycle learning rate; prints the loss now and then, and writes ``out``.

    First each canvas holds one digit, which is the answer: with four from the start nothing is learnt for long. The
    cycle begins anew with four.
    """
    torch.manual_seed(seed)
    module: nn.Module = digits.classifier(Resolution(digits.SIDE, digits.SIDE), frozenset())
    module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    start, drawn = time.monotonic(), 0
    for count, share in ((1, ALONE), (digits.DIGITS_ON_A_CANVAS, 1 - ALONE)):
        optimiser = torch.optim.AdamW(module.parameters(), weight_decay=0.02)
        phase = round(steps * share)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=phase, pct_start=0.15)
        right = deque([0.0], 50)
        module.train()
        for step in range(phase):
            images, labels = batch([digits.draw(drawn + at, "train", count) for at in range(batch_size)])
            drawn += batch_size
            logits = module(images)
            loss = F.cross_entropy(logits, labels, label_smoothing=0.05)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), 5)
            optimiser.step()
            schedule.step()
            right.append(float((logits.argmax(1) == labels).float().mean()))
            if step % 50 == 49 or step == phase - 1:
                progress = f"step {step + 1} of {phase}, {count} digit(s): loss {loss.item():.3f}"
                print(f"{progress}, {sum(right) / len(right):.1%} right, {time.monotonic() - start:.0f} s", flush=True)
        save_model(module, str(out))
    return module.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    module = train(arguments.out, arguments.steps, arguments.batch, arguments.rate, arguments.seed)
    print(f"test accuracy {accuracy(module):.2%}, without attention {accuracy(without_attention(module)):.2%}")


if __name__ == "__main__":
    main()
