"""The workload `waveform` in Keras 2 and 3; waveform_data.py says what it is."""


def build(keras, size):
    """Return WaveNet's blocks, one for each dilation: the logits of each level for the next sample."""
    layers = keras.layers
    width, dilations = size["width"], size["dilations"]

    def convolution(name, reach, dilation=1, activation=None):
        return layers.Conv1D(width, reach, dilation_rate=dilation, padding="causal", activation=activation, name=name)

    before = keras.Input(shape=(size["length"], 1), name="before")
    values = convolution("first", 2)(before)
    skipped = []
    for dilation in dilations:
        block = "block%d-" % dilation
        found = layers.Multiply()(
            [
                convolution(block + "filter", 2, dilation, "tanh")(values),
                convolution(block + "gate", 2, dilation, "sigmoid")(values),
            ]
        )
        skipped.append(convolution(block + "skip", 1)(found))
        if dilation != dilations[-1]:
            values = layers.Add()([values, convolution(block + "residual", 1)(found)])
    total = layers.Activation("relu")(layers.Add()(skipped))
    joined = convolution("joined", 1, activation="relu")(total)
    outputs = layers.Conv1D(size["levels"], 1, dtype="float32", name="level")(joined)
    return keras.Model({"before": before}, outputs)


def parameters(network):
    """Return the variables, in the order of waveform_data.parameters: blocks go by their dilation."""
    known = [layer.name for layer in network.layers if layer.name.startswith("block")]
    dilations = sorted({int(name.partition("-")[0][len("block") :]) for name in known})
    names = ["first"]
    for dilation in dilations:
        block = ["block%d-%s" % (dilation, what) for what in ("filter", "gate", "skip", "residual")]
        names += [name for name in block if name in known]
    return [variable for name in [*names, "joined", "level"] for variable in network.get_layer(name).weights]


def loss(keras, target, outputs):
    """Return each wave's mean cross-entropy, nats."""
    losses = keras.losses.sparse_categorical_crossentropy(target, outputs, from_logits=True)
    return keras.ops.mean(losses, axis=-1) if hasattr(keras, "ops") else keras.backend.mean(losses, axis=-1)
