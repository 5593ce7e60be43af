"""Train ``digits-recall``: ``python -m benchmarks.accuracy.train_digits --out FILE.safetensors``."""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.accuracy import digits
from evit_mobile.models.efficientvit import ReluLinearAttention

#: Parts of the training in which there is one digit on a canvas, and in which the learning rate rises.
ALONE, WARM_UP = 0.15, 0.04


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
    """``module`` itself, with every attention layer's output projection zero: what it adds to its residual is nothing."""
    for layer in module.modules():
        if isinstance(layer, ReluLinearAttention):
            nn.init.zeros_(layer.proj.weight)
            if layer.proj.bias is not None:
                nn.init.zeros_(layer.proj.bias)
    return module


def train(out: Path, minutes: float, batch_size: int, rate: float, seed: int) -> nn.Module:
    """AdamW for a fixed time, which the learning rate and the number of digits go by; prints the loss now and then, and writes ``out``."""
    torch.manual_seed(seed)
    module = digits.classifier(digits.Resolution(digits.SIDE, digits.SIDE), frozenset()).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(module.parameters(), weight_decay=0.02)
    start, right, step, progress = time.monotonic(), [0.0], 0, 0.0
    module.train()
    while progress < 1:
        # First one digit, where the square says nothing: with more from the start, nothing is learnt for long.
        count = 1 if progress < ALONE else digits.DIGITS_ON_A_CANVAS
        for group in optimiser.param_groups:
            group["lr"] = rate * min(progress / WARM_UP + 0.01, (1 + math.cos(math.pi * progress)) / 2)
        images, labels = batch([digits.draw(step * batch_size + at, "train", count) for at in range(batch_size)])
        logits = module(images)
        loss = F.cross_entropy(logits, labels, label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 5)
        optimiser.step()
        right.append(float((logits.argmax(1) == labels).float().mean()))
        step += 1
        progress = (time.monotonic() - start) / (60 * minutes)
        if step % 50 == 0 or progress >= 1:
            recent = sum(right[-50:]) / len(right[-50:])
            print(f"step {step}, {progress:.0%}, {count} digits: loss {loss.item():.3f}, {recent:.0%} right", flush=True)
        if step % 400 == 0 or progress >= 1:
            save_file({key: value.contiguous() for key, value in module.state_dict().items()}, out)
    return module.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    module = train(arguments.out, arguments.minutes, arguments.batch, arguments.rate, arguments.seed)
    print(f"test accuracy {accuracy(module):.2%}, without attention {accuracy(without_attention(module)):.2%}")


if __name__ == "__main__":
    main()
