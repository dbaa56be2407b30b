"""Residual network in PyTorch; see workload_walk.py."""

data = None  # residual_data, put in by workload_walk.py
# As in Keras; a tenth of each new batch goes into the moving statistics (its default: a hundredth), as ours are short.
EPSILON, MOMENTUM = 1e-3, 0.1


def build(torch, size):
    """Return the network."""
    nn = torch.nn

    def norm(channels):
        return nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)

    def convolution(before, after, side, stride):
        # Keras's `same` pads what is missing on the right first; with a stride and an even side that is all of it.
        padding = (0, 1, 0, 1) if side == 3 and stride == 2 else (side // 2,) * 4
        return nn.Sequential(nn.ZeroPad2d(padding), nn.Conv2d(before, after, side, stride, bias=False))

    class Block(nn.Module):
        """ResNet's basic block (He and others, 2015): two convolutions, and a shortcut around them."""

        def __init__(self, before, after, stride):
            super().__init__()
            self.conv1, self.norm1 = convolution(before, after, 3, stride), norm(after)
            self.conv2, self.norm2 = convolution(after, after, 3, 1), norm(after)
            self.shortcut = nn.Identity()
            if stride > 1 or before != after:
                self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), norm(after))

        def forward(self, images):
            inner = torch.relu(self.norm1(self.conv1(images)))
            return torch.relu(self.norm2(self.conv2(inner)) + self.shortcut(images))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            widths = size["widths"]
            self.stem, self.stem_norm = convolution(3, widths[0], 3, 2), norm(widths[0])
            self.blocks = nn.Sequential(*[Block(*block[1:]) for block in data.blocks(size)])
            self.head = nn.Linear(widths[-1], size["classes"])

        def forward(self, images):
            found = torch.relu(self.stem_norm(self.stem(images.permute(0, 3, 1, 2))))
            return self.head(self.blocks(found).mean((2, 3)))

    return Network()


def parameters(network):
    """Return the tensors in the order of residual_data.parameters."""
    found = [network.stem[1].weight, network.stem_norm.weight, network.stem_norm.bias]
    for block in network.blocks:
        for convolution, norm in ((block.conv1[1], block.norm1), (block.conv2[1], block.norm2)):
            found.extend((convolution.weight, norm.weight, norm.bias))
        if list(block.shortcut.parameters()):
            found.extend((block.shortcut[0].weight, block.shortcut[1].weight, block.shortcut[1].bias))
    return [*found, network.head.weight, network.head.bias]


def loss(torch, outputs, target):
    """Return the cross-entropy of each image."""
    return torch.nn.functional.cross_entropy(outputs, target, reduction="none")
