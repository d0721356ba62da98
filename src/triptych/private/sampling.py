"""Labelled samples of a released generator: post-processing, free of charge."""

import torch

from triptych.data.prepared import Split
from triptych.private.generators import Generator


@torch.inference_mode()
def draw_samples(generator: Generator, per_class: int, *, batch_size: int = 1000) -> Split:
    """`per_class` images of every class, as uint8, in label order; from torch's global generator."""
    generator.eval()
    labels = torch.arange(generator.classes).repeat_interleave(per_class)
    images = [generator(generator.draw_latent(len(part)), part) for part in labels.split(batch_size)]
    pixels = (torch.cat(images) * 255).round().to(torch.uint8)
    return Split(pixels.numpy(), labels.numpy())
