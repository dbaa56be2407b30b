"""Recurrent network in PyTorch; see workload_walk.py."""

data = None  # recurrent_data, put in by workload_walk.py


def build(torch, size):
    """Return the network."""
    nn = torch.nn
    width = size["width"]

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(data.SYMBOLS, width)
            self.lstm = nn.LSTM(width, width, batch_first=True)
            self.head = nn.Linear(width, data.CLASSES)
            # torch adds two biases where one does; Keras has one.
            nn.init.zeros_(self.lstm.bias_hh_l0)
            self.lstm.bias_hh_l0.requires_grad = False

        def forward(self, symbols):
            states, _ = self.lstm(self.embedding(symbols))
            # What comes behind the last symbol is padding, and the state before it knows nothing of it.
            last = (symbols != data.PADDING).sum(1) - 1
            return self.head(states[torch.arange(len(last), device=last.device), last])

    return Network()


def parameters(network):
    """Return the tensors in the order of recurrent_data.parameters."""
    lstm, head = network.lstm, network.head
    return [
        network.embedding.weight,
        lstm.weight_ih_l0,
        lstm.weight_hh_l0,
        lstm.bias_ih_l0,
        head.weight,
        head.bias,
    ]


def loss(torch, outputs, target):
    """Return the cross-entropy of each sequence."""
    return torch.nn.functional.cross_entropy(outputs, target, reduction="none")
