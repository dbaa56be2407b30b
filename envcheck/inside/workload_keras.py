"""Workloads in Keras; see workload_torch.py for what each function is for, smoke_keras.py for device and threads.

For `tensorflow` it is the Keras that TensorFlow brings (2 or 3), for `keras` it is Keras 3 with the configured backend.
"""

import os

FAMILY = "keras"
SAME_AFTER_LOADING = 1e-5
SAME_AFTER_EXPORT = 1e-4

state = {}


def prepare(load_sibling, settings, refusal):
    """Get ready, before anything is imported."""
    base = load_sibling("smoke_keras")
    base.PACKAGE = settings["package"]
    base.state["refusal"] = refusal
    state.update(base=base, settings=settings)


def load(settings):
    """Get ready, after it was imported."""
    return state["base"].load(settings)


def choose_device(asked):
    """Choose where to work, and the numbers to work with where precision is mixed."""
    base = state["base"]
    chosen = base.choose_device(asked)
    state.update(keras=base.state["keras"], backend=base.state["backend"])
    # On a processor bfloat16 is what there is; on a GPU float16 with a scaled loss is Keras's own way.
    mixed = state["settings"]["precision"] == "mixed"
    state["half"] = ("bfloat16" if chosen["used"] == "cpu" else "float16") if mixed else ""
    return chosen


def _compute_in(policy):
    mixed_precision = state["keras"].mixed_precision
    if hasattr(mixed_precision, "set_global_policy"):
        mixed_precision.set_global_policy(policy)
    else:  # before TensorFlow 2.4
        mixed_precision.experimental.set_policy(policy)


def half():
    """Return the name of the shorter numbers that it computes with; empty where all are float32."""
    return state["half"]


def reference():
    """Return the module that trains the reference network in this framework."""
    if state["half"]:
        _compute_in("float32")
    return state["base"]


def device_memory():
    """Return the peak of the device's memory, bytes."""
    return state["base"].device_memory()


def build(module, size):
    """Make the network and its optimizer."""
    keras = state["keras"]
    state.update(module=module, size=size, jit=False)
    keras.backend.clear_session()
    if state["half"]:
        _compute_in("mixed_" + state["half"])
    with state["base"].on_device():
        network = module.build(keras, size)
    state["network"] = network
    _compile_training(network)
    return sum(_count(variable.shape) for variable in network.trainable_weights)


def _count(shape):
    count = 1
    for length in shape:
        count *= int(length)
    return count


def restart():
    """Make the same network anew."""
    jit = state["jit"]
    build(state["module"], state["size"])
    if jit:
        state["jit"] = True
        _compile_training(state["network"])


def _compile_training(network):
    keras, size = state["keras"], state["size"]
    module, half = state["module"], state["half"]

    def loss(target, outputs):
        if half:
            cast = keras.ops.cast if hasattr(keras, "ops") else state["base"].state["tensorflow"].cast
            outputs = cast(outputs, "float32")
        return module.loss(keras, target, outputs)

    optimizer = keras.optimizers.Adam(learning_rate=size["learning_rate"], epsilon=state["settings"]["adam_epsilon"])
    if half == "float16" and not hasattr(keras, "ops"):
        optimizer = keras.mixed_precision.LossScaleOptimizer(optimizer)
    more = {"jit_compile": state["jit"]} if state["backend"] == "tensorflow" or state["jit"] else {}
    with state["base"].on_device():
        try:
            network.compile(optimizer=optimizer, loss=loss, **more)
        except (TypeError, ValueError):
            if state["jit"]:
                raise
            network.compile(optimizer=optimizer, loss=loss)  # before TensorFlow 2.9 there was no such word
        # Variables that are made while the training step is traced have it traced twice.
        if hasattr(network.optimizer, "build"):
            network.optimizer.build(network.trainable_variables)


def _trained(names):
    """Return the variables with these names; where Keras calls them otherwise, in its own order."""
    if hasattr(state["module"], "parameters"):
        return state["module"].parameters(state["network"])
    variables = state["network"].trainable_weights
    # Keras 3 has a path without the class's prefix, Keras 2 a name that ends in an output's number.
    found = {getattr(variable, "path", variable.name).partition(":")[0]: variable for variable in variables}
    if all(name in found for name in names):
        return [found[name] for name in names]
    return variables


def initialise(names, arrays):
    """Put the initial parameters into it."""
    with state["base"].on_device():
        for name, variable, array in zip(names, _trained(names), arrays):  # noqa: B905 - Python 3.6
            if tuple(variable.shape) != array.shape:
                raise AssertionError("%s has the shape %s, %s was expected" % (name, variable.shape, array.shape))
            variable.assign(array)


put_back = initialise


def arranged(_, arrays):
    """Return parameters in Keras's layout, which they are in."""
    return arrays


def weights(names):
    """Return the parameters."""
    return [_array(variable).copy() for variable in _trained(names)]


def compile(inputs, target):  # noqa: A001 - what it is called in both frameworks
    """Compile the network with XLA (or torch.compile) and try it; return the outputs without and with it."""
    keras, network = state["keras"], state["network"]
    eager = predict(inputs)
    with state["base"].on_device():
        twin = state["module"].build(keras, state["size"])
        twin.set_weights(network.get_weights())
        state["jit"] = True
        _compile_training(twin)
        compiled = twin.predict_on_batch(inputs)
        twin.train_on_batch(inputs, target)
    _compile_training(network)
    return eager, _as_float32(compiled)


def do_without_compiler():
    """Go on without the compiler."""
    state["jit"] = False
    _compile_training(state["network"])


def _batches(part, orders, place):
    """Return all epochs' batches, in the same order as every other framework gets them."""
    inputs, target, size = part["inputs"], part["target"], state["size"]["batch_size"]
    order = orders.reshape(-1)
    if state["backend"] != "tensorflow":

        def choose():
            for start in range(0, len(order), size):
                place.given += 1
                chosen = order[start : start + size]
                yield {name: array[chosen] for name, array in inputs.items()}, target[chosen]

        return choose()
    tensorflow = state["base"].state["tensorflow"]
    # Input pipelines belong to the CPU, whatever device trains.
    with tensorflow.device("/CPU:0"):
        # No Python takes part: a generator gives each batch in a thread of its own, and what the step then allocates
        # there is given back to the system and taken anew with each batch (it halved the text classifier's rate).
        data = tensorflow.data.Dataset.from_tensor_slices(order).batch(size, drop_remainder=True)
        inputs = {name: tensorflow.constant(array) for name, array in inputs.items()}
        target = tensorflow.constant(target)
        given = tensorflow.Variable(0, dtype="int64", trainable=False)
        place.count_given = lambda: int(given.numpy())

        def gather(chosen):
            with tensorflow.control_dependencies([given.assign_add(1)]):
                return {name: tensorflow.gather(whole, chosen) for name, whole in inputs.items()}, tensorflow.gather(
                    target, chosen
                )

        # There is no Python control flow to translate.
        return data.map(tensorflow.autograph.experimental.do_not_convert(gather)).prefetch(4)


def _callback(validation, watch, place):
    """Return Keras's callback that tells how far it is; it reads no number of a batch unless a report is due."""
    warm_up = state["settings"]["warm_up_batches"]

    def epoch_begins(*_, **__):
        watch.epoch_begins()

    def batch_ends(_, batch, logs=None):
        place.trained += 1
        if watch.epoch == 1 and batch + 1 == warm_up:
            watch.warmed_up()
        if watch.is_due():
            watch.progress(batch + 1, (logs or {}).get("loss"), None)

    def epoch_ends(self, _, logs=None):
        watch.trained_an_epoch()
        place.validates = True
        if not watch.epoch_ends(float(logs["loss"]), None, evaluate(validation), None):
            self.model.stop_training = True
        place.validates = False

    methods = {"on_epoch_begin": epoch_begins, "on_train_batch_end": batch_ends, "on_epoch_end": epoch_ends}
    return type("Watcher", (state["keras"].callbacks.Callback,), methods)()


def train(part, validation, orders, watch, place):
    """Train, batch by batch in the given orders."""
    with state["base"].on_device():
        state["network"].fit(
            _batches(part, orders, place),
            epochs=len(orders),
            steps_per_epoch=watch.batches,
            shuffle=False,  # the batches come in an order of their own already
            verbose=0,
            callbacks=[_callback(validation, watch, place)],
        )


def train_batch(inputs, target):
    """Train with one batch; return its mean loss."""
    with state["base"].on_device():
        found = state["network"].train_on_batch(inputs, target)
    return float(found[0] if isinstance(found, (list, tuple)) else found)


def evaluate(part):
    """Return the mean loss."""
    import numpy as np

    total, count = 0.0, len(part["target"])
    batch = state["size"].get("evaluation_batch", state["settings"]["evaluation_batch"])
    for start in range(0, count, batch):
        outputs = predict({name: array[start : start + batch] for name, array in part["inputs"].items()})
        with state["base"].on_device():
            losses = state["module"].loss(
                state["keras"], _tensor(part["target"][start : start + batch]), _tensor(outputs)
            )
        total += float(np.sum(_array(losses).astype(np.float64)))
    return total / max(count, 1)


def _tensor(array):
    if hasattr(state["keras"], "ops"):
        return state["keras"].ops.convert_to_tensor(array)
    return state["base"].state["tensorflow"].constant(array)


def _array(tensor):
    if hasattr(state["keras"], "ops"):
        return state["keras"].ops.convert_to_numpy(tensor)
    return tensor.numpy()


def _as_float32(outputs):
    import numpy as np

    outputs = np.asarray(outputs)
    return outputs if outputs.dtype.kind in "iub" else outputs.astype(np.float32)


def predict(inputs):
    """Return the network's outputs for a batch."""
    with state["base"].on_device():
        if state["settings"]["size"] == "quick" and not state["size"].get("calls_often"):
            # Tracing takes longer than so few batches do.
            return _as_float32(_array(state["network"](_tensors(inputs), training=False)))
        return _as_float32(state["network"].predict_on_batch(inputs))


def layer_outputs(inputs):
    """Yield each layer's name and output, in the order in which they are computed."""
    keras, network = state["keras"], state["network"]
    for layer in network.layers:
        try:
            upto = keras.Model(network.inputs, layer.output)
        except (AttributeError, ValueError):  # used more than once, or not at all
            continue
        with state["base"].on_device():
            # In training mode, for that is where the bad number came.
            yield layer.name, _as_float32(_array(upto(_tensors(inputs), training=True)))


def _tensors(inputs):
    return {name: _tensor(array) for name, array in inputs.items()}


def inner(inputs):
    """Return what the workload shows of the network's inside."""
    if not hasattr(state["module"], "inner"):
        return {}
    with state["base"].on_device():
        model = state["module"].inner(state["keras"], state["network"])
        found = model(_tensors(inputs), training=False)
    return {name: _as_float32(_array(tensor)) for name, tensor in found.items()}


def where(inputs):
    """Return the devices of the parameters and of a result."""
    network, base = state["network"], state["base"]
    with base.on_device():
        result = network(_tensors(inputs), training=False)
    places = [base.lies_on(value) for value in [*network.weights, result]]
    return [place for place in places if place]


def save_and_load(folder, inputs, size_name):
    """Save the network in each format that is there, load it anew and compare the outputs."""
    if size_name == "quick":
        # Keras builds the network anew to load it, and that takes longer than a quick training.
        return
    wanted = predict(inputs)
    yield _tried("keras", _through_keras, folder, inputs, wanted, SAME_AFTER_LOADING)
    if state["backend"] == "tensorflow":
        yield _tried("SavedModel", _through_saved_model, folder, inputs, wanted, SAME_AFTER_EXPORT)


def _tried(name, through, folder, inputs, wanted, allowed):
    try:
        found = through(folder, inputs)
    except Exception as error:
        return {"format": name, "error": "%s: %s" % (type(error).__name__, str(error)[:2000])}
    scale = float(abs(wanted).max()) or 1.0
    return {"format": name, "difference": float(abs(found - wanted).max()) / scale, "allowed": allowed}


def _through_keras(folder, inputs):
    keras, module = state["keras"], state["module"]
    # Keras 2 before TensorFlow 2.12 does not know the .keras format: HDF5 is what people saved then.
    known = hasattr(keras, "ops") or hasattr(keras.saving if hasattr(keras, "saving") else None, "load_model")
    path = os.path.join(folder, "network.keras" if known else "network.h5")
    objects = module.custom_objects(keras) if hasattr(module, "custom_objects") else {}
    with state["base"].on_device():
        state["network"].save(path)
        network = keras.models.load_model(path, custom_objects=objects, compile=False)
        return _as_float32(network.predict_on_batch(inputs))


def _through_saved_model(folder, inputs):
    tensorflow = state["base"].state["tensorflow"]
    path = os.path.join(folder, "saved_model")
    with state["base"].on_device():
        if hasattr(state["network"], "export"):
            state["network"].export(path, **({"verbose": False} if hasattr(state["keras"], "ops") else {}))
            loaded = tensorflow.saved_model.load(path)
            outputs = loaded.serve(_tensors(inputs))
        else:
            tensorflow.saved_model.save(state["network"], path)
            loaded = tensorflow.saved_model.load(path)
            outputs = next(iter(loaded.signatures["serving_default"](**_tensors(inputs)).values()))
        return _as_float32(outputs.numpy())
