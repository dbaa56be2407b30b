"""The workload `character-model` in Keras 2 and 3; character_model_data.py says what it is."""


def build(keras, size):
    """Return a decoder: embedding of characters and places, pre-norm blocks of causal attention, a dense layer."""
    layers = keras.layers
    width, heads, length = size["width"], size["heads"], size["length"]
    text = keras.Input(shape=(length,), dtype="int32", name="text")
    positions = keras.Input(shape=(length,), dtype="int32", name="positions")
    values = layers.Add()(
        [
            layers.Embedding(size["symbols"], width, name="characters")(text),
            layers.Embedding(length, width, name="places")(positions),
        ]
    )
    for number in range(1, size["layers"] + 1):
        block = "block%d-" % number
        normal = layers.LayerNormalization(epsilon=1e-5, name=block + "norm1")(values)
        attention = layers.MultiHeadAttention(heads, width // heads, name=block + "attention")
        values = layers.Add()([values, attention(normal, normal, use_causal_mask=True)])
        normal = layers.LayerNormalization(epsilon=1e-5, name=block + "norm2")(values)
        wide = layers.Dense(4 * width, activation="gelu", name=block + "wide")(normal)
        values = layers.Add()([values, layers.Dense(width, name=block + "narrow")(wide)])
    values = layers.LayerNormalization(epsilon=1e-5, name="norm")(values)
    outputs = layers.Dense(size["symbols"], dtype="float32", name="next")(values)
    return keras.Model({"text": text, "positions": positions}, outputs)


def parameters(network):
    """Return the variables, in the order of character_model_data.parameters."""
    names = ["characters", "places"]
    number = 1
    known = {layer.name for layer in network.layers}
    while "block%d-norm1" % number in known:
        names += ["block%d-%s" % (number, what) for what in ("norm1", "attention", "norm2", "wide", "narrow")]
        number += 1
    return [variable for name in [*names, "norm", "next"] for variable in network.get_layer(name).weights]


def loss(keras, target, outputs):
    """Return each line's mean cross-entropy, nats."""
    losses = keras.losses.sparse_categorical_crossentropy(target, outputs, from_logits=True)
    operations = getattr(keras, "ops", None)
    if operations is not None:
        return operations.mean(losses, axis=-1)
    return keras.backend.mean(losses, axis=-1)
