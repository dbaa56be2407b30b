"""Text classifier in Keras; see workload_walk.py."""

EPSILON = 1e-6  # of the layer normalisation

data = None  # text_classifier_data, put in by workload_walk.py


def build(keras, size):
    """Return the network."""
    layers = keras.layers
    width, heads = size["width"], size["heads"]
    words = keras.Input((size["length"],), dtype="int32", name="words")
    places = keras.Input((size["length"],), dtype="int32", name="places")
    # A mask that goes with the words by itself gets lost in Keras 3 where layers are added up: each layer is given it.
    is_word = _is_word(keras, words)
    found = layers.Add()(
        [
            layers.Embedding(size["words"], width, name="words_embedding")(words),
            layers.Embedding(size["length"] + 1, width, name="places_embedding")(places),
        ]
    )
    for number in range(size["layers"]):
        name = "layer%d_" % number
        attention = layers.MultiHeadAttention(heads, width // heads, name=name + "attention")
        attended = attention(found, found, attention_mask=is_word)
        found = layers.LayerNormalization(epsilon=EPSILON, name=name + "norm1")(layers.Add()([found, attended]))
        wide = layers.Dense(4 * width, activation="gelu", name=name + "wide")(found)
        narrow = layers.Dense(width, name=name + "narrow")(wide)
        found = layers.LayerNormalization(epsilon=EPSILON, name=name + "norm2")(layers.Add()([found, narrow]))
    first = layers.Flatten()(layers.Cropping1D((0, size["length"] - 1))(found))
    return keras.Model({"words": words, "places": places}, layers.Dense(data.CLASSES, name="head")(first))


def _is_word(keras, words):
    """Return where there is no padding, (reviews, 1, words): the same for each word that looks."""
    if hasattr(keras, "ops"):
        return keras.ops.expand_dims(keras.ops.not_equal(words, data.PADDING), 1)
    import tensorflow as tf

    return tf.expand_dims(tf.not_equal(words, data.PADDING), 1)


def loss(keras, target, outputs):
    """Return the cross-entropy of each review."""
    return keras.losses.sparse_categorical_crossentropy(target, outputs, from_logits=True)
