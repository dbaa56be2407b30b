"""Recurrent network in Keras; see workload_walk.py."""

data = None  # recurrent_data, put in by workload_walk.py


def build(keras, size):
    """Return the network."""
    layers = keras.layers
    width = size["width"]
    symbols = keras.Input((None,), dtype="int32", name="symbols")
    found = layers.Embedding(data.SYMBOLS, width, mask_zero=True, name="embedding")(symbols)
    found = layers.LSTM(width, name="lstm")(found)
    return keras.Model({"symbols": symbols}, layers.Dense(data.CLASSES, name="head")(found))


def loss(keras, target, outputs):
    """Return the cross-entropy of each sequence."""
    return keras.losses.sparse_categorical_crossentropy(target, outputs, from_logits=True)
