"""D, the discriminator: is this a photograph, patch by patch; and which sentence describes it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


def _conv(cin: int, cout: int, stride: int) -> nn.Module:
    return spectral_norm(nn.Conv2d(cin, cout, 4 if stride == 2 else 3, stride, 1))


class Discriminator(nn.Module):
    """PatchGAN (Isola et al., 2017) with spectral norm, and a caption decoder on its features.

    The caption decoder gives L^T = -log p(caption | picture): it learns on real pictures and their
    captions, and the generator is asked for pictures that its own caption describes.

    Args:
        vocabulary: number of caption tokens; 0 pads, 1 starts, 2 ends.
    """

    def __init__(self, vocabulary: int, width: int = 32) -> None:
        super().__init__()
        self.body = nn.ModuleList([
            _conv(6, width, 2), _conv(width, 2 * width, 2), _conv(2 * width, 4 * width, 2),
            _conv(4 * width, 4 * width, 1),
        ])  # fmt: skip
        self.real = _conv(4 * width, 1, 1)
        self.embed = nn.Embedding(vocabulary, 64)
        self.start = nn.Linear(8 * width, 96)
        self.words = nn.GRU(64, 96, batch_first=True)
        self.say = nn.Linear(96, vocabulary)

    def features(self, picture: Tensor, garment: Tensor) -> Tensor:
        x = torch.cat([picture, garment], 1) * 2 - 1
        for layer in self.body:
            x = F.leaky_relu(layer(x), 0.2)
        return x

    def forward(self, picture: Tensor, garment: Tensor) -> Tensor:
        """Patch logits: positive where it takes the picture for real.

        Args:
            picture: (N, 3, h, w) in 0..1; garment: (N, 3, h, w), the in-shop picture.
        """
        return self.real(self.features(picture, garment))

    def caption_loss(self, picture: Tensor, tokens: Tensor) -> Tensor:
        """Cross-entropy of the caption given the picture alone, mean per token, float ().

        Args:
            picture: (N, 3, h, w) in 0..1; tokens: int64 (N, length), padded with 0.
        """
        x = self.features(picture, torch.zeros_like(picture))
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        state = torch.tanh(self.start(pooled))[None]
        hidden, _ = self.words(self.embed(tokens[:, :-1]), state)
        logits = self.say(hidden).float()
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0)
