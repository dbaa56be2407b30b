"""The workload `translator` in PyTorch; translator_data.py says what it is."""


def build(torch, size):
    """Return encoder and decoder, both recurrent, with additive attention between them."""
    nn = torch.nn
    width = size["width"]

    class Translator(nn.Module):
        """Logits of each figure, given the words and the figures before it."""

        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(size["words"], width)
            self.figures = nn.Embedding(size["figures"] + 1, width)
            self.encoder = nn.GRU(width, width, batch_first=True)
            self.decoder = nn.GRU(width, width, batch_first=True)
            self.query = nn.Linear(width, width, bias=False)
            self.key = nn.Linear(width, width)
            self.scale = nn.Parameter(torch.zeros(width))
            self.joined = nn.Linear(2 * width, width)
            self.figure = nn.Linear(width, size["figures"])

        def read(self, source, before):
            """Return the decoder's states, what the attention found, and its weights."""
            read, state = self.encoder(self.words(source))
            states, _ = self.decoder(self.figures(before), state)
            # softmax(v·tanh(W_q q + W_k k + b)), for each figure over all words.
            together = torch.tanh(self.query(states).unsqueeze(2) + self.key(read).unsqueeze(1))
            scores = torch.matmul(together, self.scale)
            scores = scores.masked_fill((source == 0).unsqueeze(1), float("-inf"))
            weights = scores.softmax(-1)
            return states, torch.matmul(weights, read), weights

        def forward(self, source, before):
            states, found, _ = self.read(source, before)
            return self.figure(torch.tanh(self.joined(torch.cat([states, found], -1))))

    return Translator()


def parameters(network):
    """Return the parameters, in the order of translator_data.parameters; a pair is the rows of one."""
    found = [network.words.weight, network.figures.weight]
    for layer in (network.encoder, network.decoder):
        found += [layer.weight_ih_l0, layer.weight_hh_l0, (layer.bias_ih_l0, layer.bias_hh_l0)]
    found += [network.query.weight, network.key.weight, network.key.bias, network.scale]
    return [*found, network.joined.weight, network.joined.bias, network.figure.weight, network.figure.bias]


def arrange(name, array):
    """Return a parameter in torch's layout: kernels turned, a GRU's first two gates swapped."""
    if name.startswith(("encoder", "decoder")):
        # Keras: update, reset, new; torch: reset, update, new.
        third = array.shape[1] // 3
        array = array[:, [*range(third, 2 * third), *range(third), *range(2 * third, 3 * third)]]
    return array.transpose() if name.endswith("kernel") else array


def loss(torch, outputs, target):
    """Return each date's mean cross-entropy, nats."""
    return torch.nn.functional.cross_entropy(outputs.transpose(1, 2), target, reduction="none").mean(1)


def inner(torch, network, inputs):
    """Return the attention's weights, (dates, figures, words)."""
    del torch
    return {"attention": network.read(**inputs)[2]}
