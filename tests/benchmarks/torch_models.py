"""The U-Net and the ResNet-18 of `eokeras.models` in PyTorch, for the benchmarks: same layers, names and numbers.

Letters: B batch, C channels, H rows, W columns.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def _normalisation(channels):
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)  # Keras counts the momentum from the other end: 0.9


class UNet(nn.Module):
    """(B, C, H, W) -> logits (B, classes, H, W); `head` names the 1x1 convolution at its end."""

    ENCODER = ((1, 1), (2, 2), (4, 4), (8, 8), (16, 8))  # (stride, channels in units of the width)
    DECODER = ((8, 4), (4, 2), (2, 1), (1, 1))

    def __init__(self, bands, width, head, classes):
        super().__init__()
        self.parts, self.head = nn.ModuleDict(), head
        channels, skips = bands, {}
        for stride, multiple in self.ENCODER:
            self._double(f"encoder_{stride}", channels, multiple * width, multiple * width)
            channels = skips[stride] = multiple * width
        for stride, multiple in self.DECODER:
            joined = channels + skips[stride]
            self._double(f"decoder_{stride}", joined, joined // 2, multiple * width)
            channels = multiple * width
        self.parts[head] = nn.Conv2d(channels, classes, 1)

    def _double(self, name, channels, middle, last):
        for index, (given, wanted) in enumerate(((channels, middle), (middle, last)), start=1):
            self.parts[f"{name}_convolution_{index}"] = nn.Conv2d(given, wanted, 3, padding=1)
            self.parts[f"{name}_normalisation_{index}"] = _normalisation(wanted)

    def _convolve(self, x, name):
        for index in (1, 2):
            x = self.parts[f"{name}_convolution_{index}"](x)
            x = functional.relu(self.parts[f"{name}_normalisation_{index}"](x), inplace=True)
        return x

    def forward(self, x):
        skips = {}
        for stride, _ in self.ENCODER:
            x = skips[stride] = self._convolve(functional.max_pool2d(x, 2) if skips else x, f"encoder_{stride}")
        for stride, _ in self.DECODER:
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            rows, columns = (skips[stride].shape[axis] - x.shape[axis] for axis in (2, 3))
            if rows or columns:
                x = functional.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
            x = self._convolve(torch.cat((skips[stride], x), 1), f"decoder_{stride}")
        return self.parts[self.head](x)


class ResNet18(nn.Module):
    """(B, C, H, W) -> logits (B, classes); `head` names the dense layer at its end."""

    STRIDES, BLOCKS = (4, 8, 16, 32), (1, 2)

    def __init__(self, bands, width, head, classes):
        super().__init__()
        self.parts, self.head = nn.ModuleDict(), head
        self._add("stem", bands, width, 7, 2)
        channels = width
        for stage, stride in enumerate(self.STRIDES):
            for block in self.BLOCKS:
                name, wanted = f"stage_{stride}_block_{block}", width * 2**stage
                step = 2 if stage and block == 1 else 1
                if step == 2:
                    self._add(f"{name}_shortcut", channels, wanted, 1, step)
                self._add(f"{name}_1", channels, wanted, 3, step)
                self._add(f"{name}_2", wanted, wanted, 3, 1)
                channels = wanted
        self.parts[head] = nn.Linear(channels, classes)

    def _add(self, name, given, wanted, kernel, stride):
        convolution = nn.Conv2d(given, wanted, kernel, stride, padding=kernel // 2, bias=False)
        self.parts[f"{name}_convolution"] = convolution
        self.parts[f"{name}_normalisation"] = _normalisation(wanted)

    def _convolve(self, x, name):
        return self.parts[f"{name}_normalisation"](self.parts[f"{name}_convolution"](x))

    def forward(self, x):
        x = functional.relu(self._convolve(x, "stem"), inplace=True)
        x = functional.max_pool2d(x, 3, 2, padding=1)
        for stride in self.STRIDES:
            for block in self.BLOCKS:
                name = f"stage_{stride}_block_{block}"
                has_shortcut = f"{name}_shortcut_convolution" in self.parts
                shortcut = self._convolve(x, f"{name}_shortcut") if has_shortcut else x
                x = functional.relu(self._convolve(x, f"{name}_1"), inplace=True)
                x = functional.relu(self._convolve(x, f"{name}_2") + shortcut, inplace=True)
        return self.parts[self.head](x.mean((2, 3)))


def load(network, path):
    """Gives a network the weights that `networks.share_weights` wrote, layer by layer of the same name."""
    stored = {}
    for key, array in np.load(path).items():
        stored.setdefault(key.rpartition("/")[0], []).append(torch.from_numpy(array))
    if set(stored) != set(network.parts):
        different = sorted(set(stored) ^ set(network.parts))
        raise ValueError(f"Both networks must have the same layers. Received: {different}.")
    for name, layer in network.parts.items():
        if isinstance(layer, nn.BatchNorm2d):
            tensors = [layer.weight, layer.bias, layer.running_mean, layer.running_var]
        else:
            tensors = [tensor for tensor in (layer.weight, layer.bias) if tensor is not None]
            kernel = stored[name][0]
            stored[name][0] = kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        with torch.no_grad():
            for tensor, array in zip(tensors, stored[name], strict=True):
                tensor.copy_(array)


def count_trainable(network):
    """How many numbers are trained."""
    return sum(weight.numel() for weight in network.parameters())


def images_as(images, layout):
    """Images (B, H, W, C) as a tensor (B, C, H, W) in one of `LAYOUTS`."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(memory_format=LAYOUTS[layout])
