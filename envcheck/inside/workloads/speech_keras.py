"""The workload `speech` in Keras 2 and 3; speech_data.py says what it is."""


def build(keras, size):
    """Return convolutions over time and a dense layer: the logits of each letter, and of none, in each frame."""
    layers = keras.layers
    spectrogram = keras.Input(shape=(size["frames"], size["bands"]), name="spectrogram")
    values = spectrogram
    for number in range(1, size["layers"] + 1):
        convolution = layers.Conv1D(
            size["width"], size["reach"], padding="same", activation="relu", name="convolution%d" % number
        )
        values = convolution(values)
    outputs = layers.Dense(size["letters"], dtype="float32", name="letters")(values)
    return keras.Model({"spectrogram": spectrogram}, outputs)


def parameters(network):
    """Return the variables, in the order of speech_data.parameters."""
    return network.trainable_weights


def loss(keras, target, outputs):
    """Return each word's CTC loss for each of its letters, nats."""
    if hasattr(keras, "ops"):
        operations = keras.ops
        target = operations.cast(target, "int32")
        letters = operations.sum(operations.cast(target != 0, "int32"), axis=1)
        frames = operations.ones_like(letters) * outputs.shape[1]
        found = operations.ctc_loss(target, outputs, letters, frames, mask_index=0)
        return found / operations.cast(letters, found.dtype)
    import tensorflow as tf

    target = tf.cast(target, "int32")
    letters = tf.math.count_nonzero(target, axis=1, dtype=tf.int32)
    frames = tf.ones_like(letters) * outputs.shape[1]
    found = tf.nn.ctc_loss(target, outputs, letters, frames, logits_time_major=False, blank_index=0)
    return found / tf.cast(letters, found.dtype)
