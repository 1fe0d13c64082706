"""Networks with torchvision's module names, in plain PyTorch: torchvision itself cannot be had beside this PyTorch."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch_oracle import F, torch

nn = torch.nn

# Expansion, filters, repeats, stride: the paper's table 2.
MOBILENET_V2_BLOCKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def randomised(module: Any, seed: int = 0) -> Any:
    """Give batch norms statistics and scales that matter; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for inner in module.modules():
        if isinstance(inner, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in (
                (inner.weight.data, 0.5, 1.5),
                (inner.bias.data, -0.3, 0.3),
                (inner.running_mean, -0.3, 0.3),
                (inner.running_var, 0.5, 1.5),
            ):
                tensor.uniform_(low, high, generator=generator)
    return module.eval()


def _conv_bn_relu6(channels: int, filters: int, size: int, stride: int, groups: int = 1) -> Any:
    conv = nn.Conv2d(channels, filters, size, stride, (size - 1) // 2, groups=groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(filters), nn.ReLU6())


class InvertedResidual(nn.Module):
    """A block of MobileNetV2."""

    def __init__(self, channels: int, filters: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        self.residual = stride == 1 and channels == filters
        layers = [] if expansion == 1 else [_conv_bn_relu6(channels, hidden, 1, 1)]
        layers += [
            _conv_bn_relu6(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, filters, 1, bias=False),
            nn.BatchNorm2d(filters),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        return x + self.conv(x) if self.residual else self.conv(x)


class MobileNetV2(nn.Module):
    """torchvision's MobileNetV2 of width 1."""

    def __init__(self) -> None:
        super().__init__()
        features, channels = [_conv_bn_relu6(3, 32, 3, 2)], 32
        for t, c, n, s in MOBILENET_V2_BLOCKS:
            for i in range(n):
                features.append(InvertedResidual(channels, c, s if i == 0 else 1, t))
                channels = c
        self.features = nn.Sequential(*features, _conv_bn_relu6(channels, 1280, 1, 1))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean((2, 3)))


class Block(nn.Module):
    """A block of ResNet, basic or bottleneck; the projection is defined last."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        filters = 4 * width if bottleneck else width
        shapes = [(channels, width, 1, 1), (width, width, 3, stride), (width, filters, 1, 1)]
        if not bottleneck:
            shapes = [(channels, width, 3, stride), (width, width, 3, 1)]
        self.depth = len(shapes)
        for i, (c, k, size, s) in enumerate(shapes, 1):
            setattr(self, f"conv{i}", nn.Conv2d(c, k, size, s, size // 2, bias=False))
            setattr(self, f"bn{i}", nn.BatchNorm2d(k))
        self.downsample = None
        if stride > 1 or channels != filters:
            conv = nn.Conv2d(channels, filters, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(filters))

    def forward(self, x: Any) -> Any:
        y = x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(F.relu(y) if i > 1 else y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """torchvision's ResNet of any depth."""

    def __init__(self, depths: tuple[int, ...], bottleneck: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for stage, depth in enumerate(depths, 1):
            width, blocks = 64 * 2 ** (stage - 1), []
            for i in range(depth):
                blocks.append(Block(channels, width, 2 if stage > 1 and i == 0 else 1, bottleneck))
                channels = 4 * width if bottleneck else width
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x: Any) -> Any:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


class Fire(nn.Module):
    """SqueezeNet's module."""

    def __init__(self, channels: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1x1(x)), F.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """torchvision's SqueezeNet 1.1."""

    def __init__(self) -> None:
        super().__init__()

        def pool() -> Any:
            return nn.MaxPool2d(3, 2, ceil_mode=True)

        layers = [nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), Fire(64, 16, 64), Fire(128, 16, 64), pool()]
        layers += [Fire(128, 32, 128), Fire(256, 32, 128), pool(), Fire(256, 48, 192), Fire(384, 48, 192)]
        self.features = nn.Sequential(*layers, Fire(384, 64, 256), Fire(512, 64, 256))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU())

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x)).mean((2, 3))


class DenseLayer(nn.Module):
    """A layer of DenseNet; its output joins its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, 128, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(128), nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, x: Any) -> Any:
        y = self.conv1(F.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(F.relu(self.norm2(y)))], 1)


class DenseNet121(nn.Module):
    """torchvision's DenseNet-121."""

    def __init__(self) -> None:
        super().__init__()
        parts: Any = OrderedDict()
        parts["conv0"] = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        parts["norm0"], parts["relu0"], parts["pool0"] = nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        channels = 64
        for b, depth in enumerate((6, 12, 24, 16), 1):
            block = OrderedDict((f"denselayer{i + 1}", DenseLayer(channels + 32 * i)) for i in range(depth))
            parts[f"denseblock{b}"] = nn.Sequential(block)
            channels += 32 * depth
            if b < 4:
                step: Any = OrderedDict(norm=nn.BatchNorm2d(channels), relu=nn.ReLU())
                step["conv"], step["pool"] = nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2)
                parts[f"transition{b}"] = nn.Sequential(step)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        self.features = nn.Sequential(parts)
        self.classifier = nn.Linear(channels, 1000)

    def forward(self, x: Any) -> Any:
        return self.classifier(F.relu(self.features(x)).mean((2, 3)))
