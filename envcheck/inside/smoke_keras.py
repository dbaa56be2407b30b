"""The reference network in Keras, for the smoke training; see smoke_training.py for what each function is for.

For `tf` it is the Keras that TensorFlow brings (2 or 3), for `keras` it is Keras 3 with the backend that is configured.
"""

import os
import sys

PACKAGE = "tensorflow"

state = {}


def load(settings):
    """Get ready, after it was imported."""
    if PACKAGE == "tensorflow":
        import tensorflow  # noqa: ICN001 - under its full name, as all else here

        if int(tensorflow.__version__.split(".")[0]) < 2:
            raise state["refusal"](
                "broken",
                "TensorFlow %s: the smoke training needs 2.0 or later" % tensorflow.__version__,
                "framework-too-old-for-code",
            )
        keras = tensorflow.keras
        version, backend = tensorflow.__version__, "tensorflow"
    else:
        import keras

        version = keras.__version__
        if int(version.split(".")[0]) < 3:
            raise state["refusal"](
                "broken",
                "Keras %s: Keras 2 is a part of TensorFlow, ask for tf instead" % version,
                "framework-too-old-for-code",
            )
        backend = keras.backend.backend()
        tensorflow = __import__("tensorflow") if backend == "tensorflow" else None
    state.update(keras=keras, tensorflow=tensorflow, backend=backend)
    build = {"keras": str(getattr(keras, "__version__", "")), "backend": backend}
    if tensorflow is not None:
        build.update(_tensorflow_build(tensorflow))
        tensorflow.random.set_seed(settings["seed"])
        if settings["threads"]:
            tensorflow.config.threading.set_intra_op_parallelism_threads(settings["threads"])
            tensorflow.config.threading.set_inter_op_parallelism_threads(settings["threads"])
        if PACKAGE == "keras":
            build["tensorflow"] = tensorflow.__version__
    elif backend == "torch":
        import torch

        build["torch"] = str(torch.__version__)
        if settings["threads"]:
            torch.set_num_threads(settings["threads"])
    return {"version": str(version), "build": build}


def _tensorflow_build(tensorflow):
    try:
        information = tensorflow.sysconfig.get_build_info()
    except Exception:
        information = {}
    return {
        "cuda": information.get("cuda_version") if information.get("is_cuda_build") else None,
        "gpu": bool(tensorflow.test.is_built_with_gpu_support()),
    }


def choose_device(asked):
    """Choose where to work, or say why it cannot be there."""
    refusal = state["refusal"]
    if state["backend"] != "tensorflow":
        return _device_of_another_backend(asked, refusal)
    tensorflow = state["tensorflow"]
    gpus = tensorflow.config.list_physical_devices("GPU")
    why = "" if gpus else _why_no_gpu(tensorflow)[0]
    if asked == "auto":
        used, index = ("/GPU:0", 0) if gpus else ("/CPU:0", 0)
    elif asked == "cpu":
        used, index, why = "/CPU:0", 0, ""
    elif asked == "mps" and not (gpus and sys.platform == "darwin"):
        raise refusal("device", "TensorFlow %s has no Metal device here" % tensorflow.__version__, "mps-unsupported")
    else:
        if not gpus:
            raise refusal("device", *_why_no_gpu(tensorflow))
        index = int(asked.partition(":")[2] or 0)
        if index >= len(gpus):
            raise refusal("device", "there is no GPU %d: TensorFlow sees %d" % (index, len(gpus)))
        used = "/GPU:%d" % index
    name = "cpu"
    if "GPU" in used:
        name = _gpu_name(tensorflow, gpus[index])
        try:
            # A share of the GPU's memory may be another's; the default takes all of it.
            tensorflow.config.experimental.set_memory_growth(gpus[index], enable=True)
        except (RuntimeError, ValueError):
            pass
    state["device"] = used
    return {"used": _plain_name(used), "name": name, "why": why}


def _why_no_gpu(tensorflow):
    version = "TensorFlow %s" % tensorflow.__version__
    if not tensorflow.test.is_built_with_gpu_support():
        return "%s is a build for the CPU alone" % version, "cpu-only-build"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES=%r hides every GPU" % visible, "visible-devices-masked"
    return "%s is built for GPUs and sees none" % version, ""


def _gpu_name(tensorflow, gpu):
    try:
        return str(tensorflow.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
    except Exception:
        return gpu.name


def _device_of_another_backend(asked, refusal):
    """Keras with torch or JAX picks the device itself: say which one it is, and refuse another."""
    value = state["keras"].ops.zeros((1,))
    used = lies_on(value)
    kind = asked.partition(":")[0]
    if kind != "auto" and kind != used.partition(":")[0]:
        raise refusal("device", "Keras's backend %s works on %s, not on %s" % (state["backend"], used, asked))
    state["device"] = used
    return {
        "used": used,
        "name": used,
        "why": "" if used != "cpu" else "Keras's backend %s chose it" % state["backend"],
    }


def _plain_name(device):
    """Return `/job:localhost/replica:0/task:0/device:GPU:0` as `cuda:0`, any CPU as `cpu`."""
    kind, _, index = device.upper().replace("/DEVICE:", "/").rpartition("/")[2].partition(":")
    if kind == "GPU":
        return ("mps" if sys.platform == "darwin" else "cuda") + ":" + (index or "0")
    return kind.lower()


def lies_on(value):
    """Return where a tensor or a variable lies; empty where its backend does not say."""
    value = getattr(value, "value", value)
    if callable(value):  # TensorFlow's own variables have a method of that name
        value = value()
    if state["backend"] == "jax":
        device = next(iter(value.devices()))
        return "cuda:%d" % device.id if device.platform == "gpu" else device.platform
    device = str(getattr(value, "device", ""))
    return _plain_name(device) if state["backend"] == "tensorflow" else device


def threads():
    """Return how many threads one operation may use."""
    if state["backend"] == "torch":
        import torch

        return torch.get_num_threads()
    if state["backend"] != "tensorflow":
        return None
    configured = state["tensorflow"].config.threading.get_intra_op_parallelism_threads()
    if configured:
        return configured
    variable = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    if variable.isdigit() and int(variable):
        return int(variable)
    # Where nothing is set TensorFlow takes every core that its affinity allows (tsl/platform, NumSchedulableCPUs).
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):
        return os.cpu_count()


def on_device():
    """Return the context in which tensors and variables are made on the chosen device."""
    if state["backend"] == "tensorflow":
        return state["tensorflow"].device(state["device"])
    # JAX knows a GPU of any maker as `gpu`, torch as `cuda`.
    used = state["device"]
    return state["keras"].device(used.replace("cuda", "gpu") if state["backend"] == "jax" else used)


def build(settings):
    """Make the network."""
    keras = state["keras"]
    layers = keras.layers
    with on_device():
        network = keras.Sequential(
            [
                keras.Input(shape=(28, 28, 1)),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Conv2D(64, 3, activation="relu"),
                layers.MaxPooling2D(2),
                layers.Flatten(),
                layers.Dense(128, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
        network.compile(
            optimizer=keras.optimizers.Adam(learning_rate=settings["learning_rate"], epsilon=settings["adam_epsilon"]),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
    state["network"] = network
    return int(network.count_params())


def initialise(weights):
    """Put the initial weights into it."""
    with on_device():
        state["network"].set_weights(weights)


def weights():
    """Return the weights, in Keras's layout."""
    return state["network"].get_weights()


def _batches(images, labels, orders, size):
    """Return all epochs' batches, in the same order as every other framework gets them."""
    if state["backend"] == "tensorflow":
        tensorflow = state["tensorflow"]
        data = tensorflow.data.Dataset
        # There is no Python control flow to translate, and a script given by `-c` has no source to translate from.
        plain = tensorflow.autograph.experimental.do_not_convert
        # Input pipelines belong to the CPU, whatever device trains.
        with tensorflow.device("/CPU:0"):
            images, labels = tensorflow.constant(images), tensorflow.constant(labels)
            return (
                data.from_tensor_slices(orders)
                .flat_map(plain(lambda order: data.from_tensor_slices(order).batch(size)))
                .map(plain(lambda chosen: (tensorflow.gather(images, chosen), tensorflow.gather(labels, chosen))))
                .prefetch(4)
            )

    def generate():
        for order in orders:
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                yield images[chosen], labels[chosen]

    return generate()


def _callback(settings, watch):
    """Return Keras's callback that tells `watch`; it reads no number of a batch unless a report is due."""
    warm_up = settings["warm_up_batches"]

    def epoch_begins(*_, **__):
        watch.epoch_begins()

    def batch_ends(_, batch, logs=None):
        if watch.epoch == 1 and batch + 1 == warm_up:
            watch.warmed_up()
        if watch.is_due():
            logs = logs or {}
            watch.progress(batch + 1, logs.get("loss"), logs.get("accuracy"))

    def validation_begins(*_, **__):
        watch.trained_an_epoch()

    def epoch_ends(self, _, logs=None):
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        if not watch.epoch_ends(*[float(logs[name]) for name in names]):
            self.model.stop_training = True

    methods = {
        "on_epoch_begin": epoch_begins,
        "on_train_batch_end": batch_ends,
        "on_test_begin": validation_begins,
        "on_epoch_end": epoch_ends,
    }
    return type("Watcher", (state["keras"].callbacks.Callback,), methods)()


def train(data, orders, settings, watch):
    """Train, batch by batch in the given orders."""
    import numpy as np

    images, labels = data["train"]
    with on_device():
        state["network"].fit(
            _batches(images, labels, np.stack(orders), settings["batch_size"]),
            epochs=len(orders),
            steps_per_epoch=watch.batches,
            validation_data=data["validation"],
            validation_batch_size=state["evaluation_batch"],
            shuffle=False,  # the batches come in an order of their own already
            verbose=0,
            callbacks=[_callback(settings, watch)],
        )


def train_batch(images, labels):
    """Train with one batch, without an input pipeline; return its loss."""
    return _loss_of(state["network"].train_on_batch, images, labels)


def evaluate_batch(images, labels):
    """Return the loss of one batch, without an input pipeline."""
    return _loss_of(state["network"].test_on_batch, images, labels)


def _loss_of(function, images, labels):
    with on_device():
        # Keras 3 gives the mean since the last reset.
        state["network"].reset_metrics()
        found = function(images, labels)
    return float(found[0] if isinstance(found, (list, tuple)) else found)


def evaluate(images, labels):
    """Return loss and accuracy."""
    with on_device():
        loss, accuracy = state["network"].evaluate(images, labels, batch_size=state["evaluation_batch"], verbose=0)
    return float(loss), float(accuracy)


def predict(images):
    """Return the class that the network takes each image for, a NumPy array."""
    with on_device():
        return state["network"].predict(images, batch_size=state["evaluation_batch"], verbose=0).argmax(1)


def where():
    """Return the devices of the weights and of a result."""
    import numpy as np

    network = state["network"]
    with on_device():
        result = network(np.zeros((1, 28, 28, 1), np.float32))
    places = [lies_on(value) for value in [*network.weights, result]]
    return [place for place in places if place]


def device_memory():
    """Return the peak of the device's memory, bytes."""
    used = state["device"]
    if state["backend"] == "tensorflow" and "GPU" in used:
        try:
            return state["tensorflow"].config.experimental.get_memory_info(used.lstrip("/"))["peak"]
        except Exception:
            return None
    if state["backend"] == "torch" and used.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_reserved(used)
    if state["backend"] == "jax" and used.startswith("cuda"):
        import jax

        # A device that does not count gives None.
        return (jax.devices("gpu")[int(used.partition(":")[2])].memory_stats() or {}).get("peak_bytes_in_use")
    return None
