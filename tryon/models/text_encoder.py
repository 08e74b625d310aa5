"""E^T, the text encoder: BERT, pooled and projected; and the garment painted from the words."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel
from transformers.utils import logging

from tryon.contract import CATEGORIES, CONDITION, EMBEDDING, NET_HEIGHT, NET_WIDTH, STYLING
from tryon.models.patterns import PATTERNS, pattern_bank
from tryon.models.shapes import SHAPES, shape_categories


class TextPainter(nn.Module):
    """Draws a flat garment from z_text: one of the shapes, two colours, a pattern.

    Shape, colours and pattern are read off by linear heads; the drawings of the shapes themselves
    are kept (`training.shapes` makes them), so that edges, collars and stripes are sharp at any
    training budget.
    """

    bank: Tensor
    shapes: Tensor
    light: Tensor
    of_category: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.attributes = nn.Sequential(
            nn.Linear(EMBEDDING + len(CONDITION), 128), nn.ReLU(),
            nn.Linear(128, 6 + len(PATTERNS) + len(SHAPES)),
        )  # fmt: skip
        size = (len(SHAPES), NET_HEIGHT, NET_WIDTH)
        self.register_buffer("shapes", torch.zeros(size, dtype=torch.uint8))
        self.register_buffer("light", torch.full(size, 128, dtype=torch.uint8))
        self.register_buffer("bank", pattern_bank(NET_HEIGHT, NET_WIDTH), persistent=False)
        self.register_buffer("of_category", shape_categories(), persistent=False)

    def read(self, z_text: Tensor, condition: Tensor) -> dict[str, Tensor]:
        """What the words ask for, as training uses it.

        Args:
            z_text: (N, EMBEDDING); condition: (N, 5), of which the category counts.

        Returns:
            `first` and `second` colours (N, 3) in 0..1, `pattern` logits (N, len(PATTERNS)) and
            `shape` logits (N, len(SHAPES)), those of other categories out of reach.
        """
        condition = condition * condition.new_tensor([1.0, 1.0, 1.0, 0.0, 0.0])
        raw = self.attributes(torch.cat([z_text, condition], 1)).float()
        pattern, shape = raw[:, 6 : 6 + len(PATTERNS)], raw[:, 6 + len(PATTERNS) :]
        allowed = condition[:, : len(CATEGORIES)].float() @ self.of_category
        return {"first": raw[:, :3].sigmoid(), "second": raw[:, 3:6].sigmoid(),
                "pattern": pattern, "shape": shape - 50 * (1 - allowed)}  # fmt: skip

    def draw(
        self, z_text: Tensor, condition: Tensor, height: int = NET_HEIGHT, width: int = NET_WIDTH
    ) -> tuple[Tensor, Tensor]:
        """The drawing: rgb float (N, 3, H, W) in 0..1 and its mask float (N, 1, H, W) in 0..1.

        Args:
            height, width: how much of it, from its corner.
        """
        asked = self.read(z_text, condition)
        bank = self.bank[:, :height, :width]
        share = (asked["pattern"] * 6).softmax(1) @ bank.flatten(1)
        share = share.reshape(-1, 1, height, width)
        first, second = asked["first"][:, :, None, None], asked["second"][:, :, None, None]
        which = asked["shape"].argmax(1)
        mask = self.shapes.index_select(0, which)[:, None, :height, :width].float() / 255
        light = self.light.index_select(0, which)[:, None, :height, :width].float() / 128
        return ((first * (1 - share) + second * share) * light).clamp(0, 1), mask


class TextEncoder(nn.Module):
    """E^T: frozen BERT (MiniLM's weights) and a learned projection.

    Args:
        directory: a BERT model as transformers saves it (config.json and weights).
    """

    bounded: bool = True
    """Draw one pixel where every row of the batch has a garment. Its size then depends on the data,
    which engines for GPUs don't take: they are traced without."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        config = BertConfig.from_pretrained(directory, local_files_only=True)
        config._attn_implementation = "eager"  # traces to plain ONNX operators
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # it would warn of the pooling head that is left out
        self.bert = BertModel.from_pretrained(
            directory, config=config, local_files_only=True, add_pooling_layer=False
        )
        logging.set_verbosity(level)
        for parameter in self.bert.parameters():
            parameter.requires_grad_(False)
        self.bert.eval()
        self.project = nn.Sequential(
            nn.Linear(config.hidden_size, 256), nn.ReLU(), nn.Linear(256, EMBEDDING)
        )
        self.painter = TextPainter()
        self.styling = nn.Sequential(
            nn.Linear(config.hidden_size, 128), nn.ReLU(),
            nn.Linear(128, sum(map(len, STYLING.values()))),
        )  # fmt: skip

    def train(self, mode: bool = True) -> TextEncoder:
        super().train(mode)
        self.bert.eval()  # frozen: no dropout
        return self

    def pool(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Mean over the sentence's tokens, unit length: (N, hidden) from int64 (N, tokens)."""
        extended = (1.0 - attention_mask[:, None, None, :].float()) * -1e4
        x = self.bert.embeddings(input_ids=input_ids)
        for layer in self.bert.encoder.layer:
            y = layer(x, extended)
            x = y[0] if isinstance(y, tuple) else y
        weight = attention_mask[..., None].float()
        mean = (x * weight).sum(1) / weight.sum(1).clamp(min=1.0)
        return F.normalize(mean, dim=1)

    def style_logits(self, pooled: Tensor) -> list[Tensor]:
        """Logits (N, values) of each of `contract.STYLING`, of sentences (N, hidden)."""
        return list(self.styling(pooled).float().split([len(v) for v in STYLING.values()], 1))

    def style(self, pooled: Tensor, condition: Tensor) -> Tensor:
        """How the words say that the garment is worn: float (N, len(STYLING)), the likeliest value
        of each; 0 without words.

        Args:
            pooled: (N, hidden) of `pool`; condition: (N, 5).
        """
        found = [
            torch.tensor(values, dtype=torch.float32, device=pooled.device)[logits.argmax(1)]
            for values, logits in zip(STYLING.values(), self.style_logits(pooled), strict=True)
        ]
        return torch.stack(found, 1) * condition[:, 4:5].float()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, condition: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Contract tensors of the served model `text_encoder`."""
        pooled = self.pool(input_ids, attention_mask)
        z_text = self.project(pooled)
        size = (NET_HEIGHT, NET_WIDTH)
        if self.bounded:
            wanted = (condition[:, 3] < 0.5).any().long()
            # Traced, they stay tensors.
            size = tuple(1 + wanted * (n - 1) for n in size)  # type: ignore[assignment]
        rgb, mask = self.painter.draw(z_text, condition, *size)
        rgb = rgb * mask + (1 - mask)
        painted = (torch.cat([rgb, mask], 1).permute(0, 2, 3, 1) * 255).round().clamp(0, 255)
        return z_text, painted.to(torch.uint8), self.style(pooled, condition)
