"""The workload `translator` in Keras 2 and 3; translator_data.py says what it is."""

LAYERS = ("words", "figures", "encoder", "decoder", "query", "key", "attention", "joined", "figure")


def build(keras, size):
    """Return encoder and decoder, both recurrent, with additive attention between them."""
    layers = keras.layers
    width = size["width"]
    source = keras.Input(shape=(size["longest"],), dtype="int32", name="source")
    before = keras.Input(shape=(size["length"],), dtype="int32", name="before")
    words = layers.Embedding(size["words"], width, name="words")(source)
    read, state = layers.GRU(width, return_sequences=True, return_state=True, name="encoder")(words)
    figures = layers.Embedding(size["figures"] + 1, width, name="figures")(before)
    states = layers.GRU(width, return_sequences=True, name="decoder")(figures, initial_state=state)
    query = layers.Dense(width, use_bias=False, name="query")(states)
    key = layers.Dense(width, name="key")(read)
    # Keras's layer is softmax(v·tanh(q + k)): the two dense layers before it make it the whole formula.
    found, _ = layers.AdditiveAttention(name="attention")(
        [query, read, key], mask=[None, _is_word(keras, source)], return_attention_scores=True
    )
    joined = layers.Dense(width, activation="tanh", name="joined")(layers.Concatenate()([states, found]))
    outputs = layers.Dense(size["figures"], dtype="float32", name="figure")(joined)
    return keras.Model({"source": source, "before": before}, outputs)


def _is_word(keras, source):
    if hasattr(keras, "ops"):
        return keras.ops.not_equal(source, 0)
    import tensorflow as tf

    return tf.not_equal(source, 0)


def parameters(network):
    """Return the variables, in the order of translator_data.parameters."""
    return [variable for name in LAYERS for variable in network.get_layer(name).weights]


def loss(keras, target, outputs):
    """Return each date's mean cross-entropy, nats."""
    losses = keras.losses.sparse_categorical_crossentropy(target, outputs, from_logits=True)
    return keras.ops.mean(losses, axis=-1) if hasattr(keras, "ops") else keras.backend.mean(losses, axis=-1)


def inner(keras, network):
    """Return a model of the attention's weights, (dates, figures, words)."""
    return keras.Model(network.inputs, {"attention": network.get_layer("attention").output[1]})
