"""What one page needs of the package ``transformers``: a model whose output is an object, made from a folder.

The names, the output and the files are those of the real package; the network is as small as can be.
"""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn


class ResNetConfig:
    def __init__(self, num_channels: int = 1, embedding_size: int = 8, num_labels: int = 10) -> None:
        self.num_channels, self.embedding_size, self.num_labels = num_channels, embedding_size, num_labels

    @classmethod
    def from_pretrained(cls, folder: str) -> "ResNetConfig":
        return cls(**json.loads((Path(folder) / "config.json").read_text(encoding="utf-8")))

    def save_pretrained(self, folder: str) -> None:
        (Path(folder) / "config.json").write_text(json.dumps(vars(self)), encoding="utf-8")


class ResNetForImageClassification(nn.Module):
    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.embedding_size
        self.resnet = nn.Sequential(
            nn.Conv2d(config.num_channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Linear(4 * width, config.num_labels)

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> Any:
        logits = self.classifier(self.resnet(pixel_values))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SimpleNamespace(loss=loss, logits=logits)

    def save_pretrained(self, folder: str) -> None:
        from safetensors.torch import save_file

        Path(folder).mkdir(parents=True, exist_ok=True)
        self.config.save_pretrained(folder)
        save_file(self.state_dict(), Path(folder) / "model.safetensors", {"format": "pt"})
