"""The workload `waveform` in PyTorch; waveform_data.py says what it is."""


def build(torch, size):
    """Return WaveNet's blocks, one for each dilation: the logits of each level for the next sample."""
    nn = torch.nn
    width, dilations = size["width"], size["dilations"]

    def back(values, reach):
        """Return values with zeros in front, so that a convolution sees what came before only."""
        return nn.functional.pad(values, (reach, 0))

    class Block(nn.Module):
        """A gated dilated convolution; what it found goes to the end, and is added for the next block."""

        def __init__(self, dilation, last):
            super().__init__()
            self.dilation = dilation
            self.filter = nn.Conv1d(width, width, 2, dilation=dilation)
            self.gate = nn.Conv1d(width, width, 2, dilation=dilation)
            self.skip = nn.Conv1d(width, width, 1)
            self.residual = None if last else nn.Conv1d(width, width, 1)

        def forward(self, values):
            before = back(values, self.dilation)
            found = torch.tanh(self.filter(before)) * torch.sigmoid(self.gate(before))
            return self.skip(found), values if self.residual is None else values + self.residual(found)

    class Generator(nn.Module):
        """Sees 2 + sum(dilations) samples back."""

        def __init__(self):
            super().__init__()
            self.first = nn.Conv1d(1, width, 2)
            self.blocks = nn.ModuleList([Block(dilation, dilation == dilations[-1]) for dilation in dilations])
            self.joined = nn.Conv1d(width, width, 1)
            self.level = nn.Conv1d(width, size["levels"], 1)

        def forward(self, before):
            values = self.first(back(before.transpose(1, 2), 1))
            total = 0
            for block in self.blocks:
                skipped, values = block(values)
                total = total + skipped
            joined = torch.relu(self.joined(torch.relu(total)))
            return self.level(joined).transpose(1, 2)

    return Generator()


def parameters(network):
    """Return the parameters, in the order of waveform_data.parameters."""
    layers = [network.first]
    for block in network.blocks:
        layers += [block.filter, block.gate, block.skip]
        if block.residual is not None:
            layers.append(block.residual)
    found = []
    for layer in [*layers, network.joined, network.level]:
        found += [layer.weight, layer.bias]
    return found


def loss(torch, outputs, target):
    """Return each wave's mean cross-entropy, nats."""
    return torch.nn.functional.cross_entropy(outputs.transpose(1, 2), target, reduction="none").mean(1)
