"""The workload `character-model` in PyTorch; character_model_data.py says what it is."""

data = None  # the module character_model_data, set by who loads this one


def build(torch, size):
    """Return a decoder: embedding of characters and places, pre-norm blocks of causal attention, a linear layer."""
    nn = torch.nn
    asked = data.SIZES[size]
    width, heads, length = asked["width"], asked["heads"], asked["length"]

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
            self.characters, self.places = nn.Embedding(data.SYMBOLS, width), nn.Embedding(length, width)
            self.blocks = nn.ModuleList([Block() for _ in range(asked["layers"])])
            self.norm = nn.LayerNorm(width, eps=1e-5)
            self.next = nn.Linear(width, data.SYMBOLS)

        def forward(self, text, positions):
            values = self.characters(text) + self.places(positions)
            for block in self.blocks:
                values = block(values)
            return self.next(self.norm(values))

    return Decoder()


def parameters(network):
    """Return the parameters, in the order of character_model_data.parameters."""
    layers = []
    for block in network.blocks:
        layers += [block.norm1, block.query, block.key, block.value, block.output, block.norm2, block.wide]
        layers += [block.narrow]
    found = [network.characters.weight, network.places.weight]
    for layer in [*layers, network.norm, network.next]:
        found += [layer.weight, layer.bias]
    return found


def arrange(name, array):
    """Return a parameter in torch's layout."""
    what = name.rpartition("-")[2]
    if what == "bias":
        return array.reshape(-1)
    if what != "kernel":
        return array
    # Keras keeps a head's numbers apart: (in, heads, size) and (heads, size, out).
    into = array.shape[-1] if "output" in name else array.shape[0]
    return (array.reshape(-1, into) if "output" in name else array.reshape(into, -1)).transpose()


def loss(torch, outputs, target):
    """Return each line's mean cross-entropy, nats."""
    return torch.nn.functional.cross_entropy(outputs.transpose(1, 2), target.long(), reduction="none").mean(1)
