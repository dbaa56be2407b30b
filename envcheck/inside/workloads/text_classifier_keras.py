"""Text classifier in Keras; see workload_walk.py."""

EPSILON = 1e-6  # of the layer normalisation

data = None  # text_classifier_data, put in by workload_walk.py


def build(keras, size):
    """Return the network."""
    layers = keras.layers
    width, heads = size["width"], size["heads"]
    words = keras.Input((size["length"],), dtype="int32", name="words")
    places = keras.Input((size["length"],), dtype="int32", name="places")
    # The mask of the padding goes with the words through all that follows.
    found = layers.Add()(
        [
            layers.Embedding(size["words"], width, mask_zero=True, name="words_embedding")(words),
            layers.Embedding(size["length"] + 1, width, mask_zero=True, name="places_embedding")(places),
        ]
    )
    for number in range(size["layers"]):
        name = "layer%d_" % number
        attended = layers.MultiHeadAttention(heads, width // heads, name=name + "attention")(found, found)
        found = layers.LayerNormalization(epsilon=EPSILON, name=name + "norm1")(layers.Add()([found, attended]))
        wide = layers.Dense(4 * width, activation="gelu", name=name + "wide")(found)
        narrow = layers.Dense(width, name=name + "narrow")(wide)
        found = layers.LayerNormalization(epsilon=EPSILON, name=name + "norm2")(layers.Add()([found, narrow]))
    first = layers.Flatten()(layers.Cropping1D((0, size["length"] - 1))(found))
    return keras.Model({"words": words, "places": places}, layers.Dense(data.CLASSES, name="head")(first))


def loss(keras, target, outputs):
    """Return the cross-entropy of each review."""
    return keras.losses.sparse_categorical_crossentropy(target, outputs, from_logits=True)
