"""E^T, the text encoder: BERT, pooled and projected; and the garment painted from the words."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel
from transformers.utils import logging

from tryon.contract import CONDITION, EMBEDDING, NET_HEIGHT, NET_WIDTH
from tryon.models.blocks import Conv, head, up2
from tryon.models.patterns import PATTERNS, pattern_bank


class TextPainter(nn.Module):
    """Draws a flat garment from z_text: its shape, two colours, a pattern, folds.

    Shape and folds come from a small decoder; colours and the mixture of patterns from linear
    heads, so that edges and stripes are sharp at any training budget.
    """

    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.seed = nn.Linear(EMBEDDING + len(CONDITION), 96 * 8 * 6)
        self.grow = nn.ModuleList([Conv(96, 64), Conv(64, 48), Conv(48, 32), Conv(32, 24)])
        self.shape = head(24, 1)
        self.folds = head(24, 1)
        self.attributes = nn.Sequential(
            nn.Linear(EMBEDDING + len(CONDITION), 128), nn.ReLU(),
            nn.Linear(128, 6 + len(PATTERNS)),
        )  # fmt: skip
        self.register_buffer("bank", pattern_bank(NET_HEIGHT, NET_WIDTH), persistent=False)

    def draw(self, z_text: Tensor, condition: Tensor) -> dict[str, Tensor]:
        """The drawing and what it is made of, as training uses them.

        Args:
            z_text: (N, EMBEDDING); condition: (N, 5), of which the category counts.

        Returns:
            `rgb` float (N, 3, H, W) in 0..1, `mask` logits (N, 1, H, W), `first` and `second`
            colours (N, 3) in 0..1, `folds` gain (N, 1, H, W), `pattern` logits (N, len(PATTERNS)).
        """
        condition = condition * condition.new_tensor([1.0, 1.0, 1.0, 0.0, 0.0])
        code = torch.cat([z_text, condition], 1)
        x = self.seed(code).reshape(-1, 96, 8, 6)
        for layer in self.grow:
            x = layer(up2(x))
        mask = up2(self.shape(x).float())
        folds = up2(self.folds(x).float()).tanh() * 0.35
        raw = self.attributes(code).float()
        first, second = raw[:, :3].sigmoid(), raw[:, 3:6].sigmoid()
        pattern = raw[:, 6:]
        share = ((pattern * 2).softmax(1)[:, :, None, None] * self.bank[None]).sum(1, keepdim=True)
        cloth = first[:, :, None, None] * (1 - share) + second[:, :, None, None] * share
        rgb = (cloth * folds.exp()).clamp(0, 1)
        return {"rgb": rgb, "mask": mask, "folds": folds.exp(), "first": first, "second": second,
                "pattern": pattern}  # fmt: skip


class TextEncoder(nn.Module):
    """E^T: frozen BERT (MiniLM's weights) and a learned projection.

    Args:
        directory: a BERT model as transformers saves it (config.json and weights).
    """

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

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, condition: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Contract tensors of the served model `text_encoder`."""
        z_text = self.project(self.pool(input_ids, attention_mask))
        drawn = self.painter.draw(z_text, condition)
        # A steeper edge than the training's: the mean of many shapes has a soft one.
        mask = (drawn["mask"] * 4).sigmoid()
        rgb = drawn["rgb"] * mask + (1 - mask)
        painted = (torch.cat([rgb, mask], 1).permute(0, 2, 3, 1) * 255).round().clamp(0, 255)
        return z_text, painted.to(torch.uint8)
