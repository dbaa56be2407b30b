"""Residual network in Keras; see workload_walk.py."""

data = None  # residual_data, put in by workload_walk.py
EPSILON, MOMENTUM = 1e-3, 0.9


def build(keras, size):
    """Return the network."""
    layers = keras.layers

    def convolution(name, channels, side, stride):
        return layers.Conv2D(channels, side, strides=stride, padding="same", use_bias=False, name=name)

    def norm(name):
        return layers.BatchNormalization(epsilon=EPSILON, momentum=MOMENTUM, name=name)

    def relu(tensor):
        return layers.Activation("relu")(tensor)

    images = keras.Input((32, 32, 3), name="images")
    found = relu(norm("stem_norm")(convolution("stem", size["widths"][0], 3, 2)(images)))
    for name, before, after, stride in data.blocks(size):
        shortcut = found
        inner = relu(norm(name + "_norm1")(convolution(name + "_conv1", after, 3, stride)(found)))
        inner = norm(name + "_norm2")(convolution(name + "_conv2", after, 3, 1)(inner))
        if stride > 1 or before != after:
            shortcut = norm(name + "_shortcut_norm")(convolution(name + "_shortcut", after, 1, stride)(found))
        found = relu(layers.Add()([inner, shortcut]))
    outputs = layers.Dense(size["classes"], name="head")(layers.GlobalAveragePooling2D()(found))
    return keras.Model({"images": images}, outputs)


def loss(keras, target, outputs):
    """Return the cross-entropy of each image."""
    return keras.losses.sparse_categorical_crossentropy(target, outputs, from_logits=True)
