"""The workload `speech` in PyTorch; speech_data.py says what it is."""


def build(torch, size):
    """Return convolutions over time and a linear layer: the logits of each letter, and of none, in each frame."""
    nn = torch.nn

    class Recogniser(nn.Module):
        """Hears as many frames around each as its convolutions reach."""

        def __init__(self):
            super().__init__()
            widths = [size["bands"]] + [size["width"]] * size["layers"]
            self.convolutions = nn.ModuleList(
                [
                    nn.Conv1d(before, after, size["reach"], padding=size["reach"] // 2)
                    for before, after in zip(widths, widths[1:])  # noqa: B905, RUF007 - Python 3.6
                ]
            )
            self.letters = nn.Linear(size["width"], size["letters"])

        def forward(self, spectrogram):
            values = spectrogram.transpose(1, 2)
            for convolution in self.convolutions:
                values = torch.relu(convolution(values))
            return self.letters(values.transpose(1, 2))

    return Recogniser()


def parameters(network):
    """Return the parameters, in the order of speech_data.parameters."""
    found = []
    for layer in [*network.convolutions, network.letters]:
        found += [layer.weight, layer.bias]
    return found


def loss(torch, outputs, target):
    """Return each word's CTC loss for each of its letters, nats."""
    if outputs.device.type == "mps":
        # Metal has no such loss in most releases (github.com/pytorch/pytorch/issues/153976): the processor sums it up.
        outputs, target = outputs.cpu(), target.cpu()
    logarithms = outputs.log_softmax(-1).transpose(0, 1)
    letters = (target != 0).sum(1)
    frames = torch.full_like(letters, outputs.shape[1])
    found = torch.nn.functional.ctc_loss(logarithms, target, frames, letters, blank=0, reduction="none")
    return found / letters
