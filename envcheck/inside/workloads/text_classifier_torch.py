"""Text classifier in PyTorch; see workload_walk.py."""

EPSILON = 1e-6  # of the layer normalisation

data = None  # text_classifier_data, put in by workload_walk.py


def build(torch, size):
    """Return the network."""
    nn = torch.nn
    width = size["width"]

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(size["words"], width)
            self.places = nn.Embedding(size["length"] + 1, width)
            self.layers = nn.ModuleList(
                [
                    nn.TransformerEncoderLayer(
                        width,
                        size["heads"],
                        dim_feedforward=4 * width,
                        dropout=0.0,
                        activation="gelu",
                        layer_norm_eps=EPSILON,
                        batch_first=True,
                    )
                    for _ in range(size["layers"])
                ]
            )
            self.head = nn.Linear(width, data.CLASSES)

        def forward(self, words, places):
            padding = words == data.PADDING
            found = self.words(words) + self.places(places)
            for layer in self.layers:
                found = layer(found, src_key_padding_mask=padding)
            return self.head(found[:, 0])

    return Network()


def parameters(network):
    """Return the tensors in the order of text_classifier_data.parameters."""
    found = [network.words.weight, network.places.weight]
    for layer in network.layers:
        attention = layer.self_attn
        # torch keeps query, key and value in one matrix: each is a view of a third of it.
        for weight, bias in zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)):  # noqa: B905
            found.extend((weight, bias))
        found.extend((attention.out_proj.weight, attention.out_proj.bias))
        for part in (layer.norm1, layer.linear1, layer.linear2, layer.norm2):
            found.extend((part.weight, part.bias))
    return [*found, network.head.weight, network.head.bias]


def arrange(name, array):
    """Return a parameter in torch's layout; Keras keeps the heads apart."""
    if name.endswith("attention_output/kernel"):
        return array.reshape(-1, array.shape[-1]).transpose()
    if name.endswith("kernel"):
        return array.reshape(array.shape[0], -1).transpose()
    return array.reshape(-1) if name.endswith("bias") else array


def loss(torch, outputs, target):
    """Return the cross-entropy of each review."""
    return torch.nn.functional.cross_entropy(outputs, target, reduction="none")


def inner(torch, network, inputs):
    """Return where each word looks in the last layer."""
    del torch
    padding = inputs["words"] == data.PADDING
    found = network.words(inputs["words"]) + network.places(inputs["places"])
    for layer in network.layers[:-1]:
        found = layer(found, src_key_padding_mask=padding)
    attention = network.layers[-1].self_attn
    _, weights = attention(found, found, found, key_padding_mask=padding, average_attn_weights=False)
    return {"attention": weights}
