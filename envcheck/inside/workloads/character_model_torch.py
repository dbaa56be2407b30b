"""The workload `character-model` in PyTorch; character_model_data.py says what it is."""


def build(torch, size):
    """Return a decoder: embedding of characters and places, pre-norm blocks of causal attention, a linear layer."""
    nn = torch.nn
    width, heads, length = size["width"], size["heads"], size["length"]

    def attend(query, key, value):
        """Return softmax(query keyᵀ / √size) value, each place looking back only."""
        fused = getattr(nn.functional, "scaled_dot_product_attention", None)
        if fused is not None:
            return fused(query, key, value, is_causal=True)
        scores = torch.matmul(query, key.transpose(-2, -1)) / query.shape[-1] ** 0.5
        later = torch.ones(query.shape[-2], query.shape[-2], device=query.device).triu(1) > 0
        return torch.matmul(scores.masked_fill(later, float("-inf")).softmax(-1), value)

    class Block(nn.Module):
        """GPT's block: normalise, attend, add; normalise, widen, narrow, add."""

        def __init__(self):
            super().__init__()
            self.heads = heads
            self.norm1 = nn.LayerNorm(width, eps=1e-5)
            self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
            self.output = nn.Linear(width, width)
            self.norm2 = nn.LayerNorm(width, eps=1e-5)
            self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, values):
            normal = self.norm1(values)
            shape = (normal.shape[0], normal.shape[1], heads, width // heads)
            parts = [layer(normal).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value)]
            found = attend(*parts).transpose(1, 2).reshape(normal.shape)
            values = values + self.output(found)
            return values + self.narrow(nn.functional.gelu(self.wide(self.norm2(values))))

    class Decoder(nn.Module):
        """Logits of each next character."""

        def __init__(self):
            super().__init__()
            self.characters, self.places = nn.Embedding(size["symbols"], width), nn.Embedding(length, width)
            self.blocks = nn.ModuleList([Block() for _ in range(size["layers"])])
            self.norm = nn.LayerNorm(width, eps=1e-5)
            self.next = nn.Linear(width, size["symbols"])

        def forward(self, text, positions):
            values = self.characters(text) + self.places(positions)
            for block in self.blocks:
                values = block(values)
            return self.next(self.norm(values))

    return Decoder()


def parameters(network):
    """Return views of the parameters in Keras's layout, in the order of character_model_data.parameters."""
    found = [network.characters.weight, network.places.weight]
    for block in network.blocks:
        heads = block.heads
        found += [block.norm1.weight, block.norm1.bias]
        for layer in (block.query, block.key, block.value):
            width = layer.weight.shape[0]
            found += [layer.weight.t().view(width, heads, width // heads), layer.bias.view(heads, width // heads)]
        found += [block.output.weight.t().view(heads, width // heads, width), block.output.bias]
        found += [block.norm2.weight, block.norm2.bias]
        for layer in (block.wide, block.narrow):
            found += [layer.weight.t(), layer.bias]
    return [*found, network.norm.weight, network.norm.bias, network.next.weight.t(), network.next.bias]


def arrange(name, array):
    """Return a parameter as it is: `parameters` gives views in Keras's layout."""
    del name
    return array


def loss(torch, outputs, target):
    """Return each line's mean cross-entropy, nats."""
    return torch.nn.functional.cross_entropy(outputs.transpose(1, 2), target.long(), reduction="none").mean(1)
