"""The distributed training in TensorFlow: MultiWorkerMirroredStrategy; see distributed_rank.py."""

state = {}


def load(settings, teller, training):
    """Import TensorFlow and join the others: the strategy waits for every worker that TF_CONFIG names."""
    import tensorflow  # noqa: ICN001 - under its full name, as all else here

    cards = tensorflow.config.list_physical_devices("GPU")
    if settings["device"].startswith("cuda") and len(cards) < settings["ranks"]:
        reason = "TensorFlow %s sees %d GPUs, %d ranks need one each"
        raise training.RefusalError("device", reason % (tensorflow.__version__, len(cards), settings["ranks"]))
    on_cards = settings["device"] != "cpu" and len(cards) >= settings["ranks"]
    tensorflow.config.set_visible_devices([cards[teller.rank]] if on_cards else [], "GPU")
    if on_cards:
        tensorflow.config.experimental.set_memory_growth(cards[teller.rank], enable=True)
    distribute = tensorflow.distribute
    wanted = distribute.experimental.CommunicationImplementation
    options = distribute.experimental.CommunicationOptions(implementation=wanted.NCCL if on_cards else wanted.RING)
    strategy = teller.collective(
        "MultiWorkerMirroredStrategy",
        lambda: distribute.MultiWorkerMirroredStrategy(communication_options=options),
    )
    state.update(tensorflow=tensorflow, strategy=strategy, on_cards=on_cards, ranks=settings["ranks"])
    return {
        "version": str(tensorflow.__version__),
        "backend": "nccl" if on_cards else "gRPC",
        "device": "cuda:%d" % teller.rank if on_cards else "cpu",
        "name": "",
    }


def meet(teller):
    """Wait for all, and count them."""
    import numpy as np

    found = all_reduce(teller, np.ones(1), "float32")
    context = state["strategy"].cluster_resolver
    return {"world": int(found[0]), "found_rank": int(context.task_id)}


def dtypes():
    """Return the number formats in which sums are checked."""
    return ["float64", "float32", "int32"]


def _in_graph(inside):
    """Return a function that runs `inside` on every rank, in a graph, as a training step does."""
    tensorflow, strategy = state["tensorflow"], state["strategy"]

    def step(value):
        # The copy is made on the rank's own device; a tensor that comes from without has none.
        return strategy.run(lambda: inside(tensorflow.distribute.get_replica_context(), tensorflow.identity(value)))

    return tensorflow.function(step, autograph=False)


def _sum(context, value):
    return context.all_reduce(state["tensorflow"].distribute.ReduceOp.SUM, value)


def _gather(context, value):
    return context.all_gather(value, axis=0)


def all_reduce(teller, values, dtype):
    """Return the sum over all ranks, NumPy float64."""
    tensor = state["tensorflow"].constant(values, dtype=dtype)
    return teller.collective("all-reduce", _in_graph(_sum), tensor).numpy().astype("float64")


def all_gather(teller, values):
    """Return all ranks' values, one after the other."""
    return teller.collective("all-gather", _in_graph(_gather), state["tensorflow"].constant(values)).numpy()


def message(count):
    """Return a function that sums `count` float32 over all ranks."""
    run, tensor = _in_graph(_sum), state["tensorflow"].zeros(count)

    def send():
        return run(tensor)[0].numpy()

    return send


def _network(weights):
    keras = state["tensorflow"].keras
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input(shape=(28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(10),
        ]
    )
    network.set_weights(weights)
    return network


def _loss(network, images, labels):
    tensorflow = state["tensorflow"]
    found = network(images, training=True)
    return tensorflow.reduce_sum(tensorflow.nn.sparse_softmax_cross_entropy_with_logits(labels, found))


def train_alone(teller, images, labels, weights, batches, learning_rate):
    """Return the losses of one process that sees every image."""
    tensorflow = state["tensorflow"]
    network = _network(weights)

    def step(chosen_images, chosen_labels):
        with tensorflow.GradientTape() as tape:
            loss = _loss(network, chosen_images, chosen_labels) / float(len(batches[0]))
        variables = network.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(loss, variables)):  # noqa: B905 - Python 3.6
            variable.assign_sub(learning_rate * gradient)
        return loss

    run = tensorflow.function(step, autograph=False)
    losses = []
    for chosen in batches:
        losses.append(float(run(tensorflow.constant(images[chosen]), tensorflow.constant(labels[chosen]))))
        teller.send("beat")
    return losses


def train(teller, images, labels, weights, shares, learning_rate, batch_size):
    """Return the losses of all ranks together, and the largest difference between their weights at the end."""
    tensorflow, strategy = state["tensorflow"], state["strategy"]
    distribute = tensorflow.distribute

    def build():
        with strategy.scope():
            network = _network(weights)
            return network, tensorflow.keras.optimizers.SGD(learning_rate)

    # Variables of a strategy are sent from the first worker to the others.
    network, optimizer = teller.collective("strategy.scope", build)

    def step(chosen_images, chosen_labels):
        with tensorflow.GradientTape() as tape:
            loss = _loss(network, chosen_images, chosen_labels) / float(batch_size)
        variables = network.trainable_variables
        # The optimizer sums the gradients over the ranks.
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))  # noqa: B905 - Python 3.6
        return distribute.get_replica_context().all_reduce(distribute.ReduceOp.SUM, loss)

    run = tensorflow.function(lambda *batch: strategy.run(step, args=batch), autograph=False)
    losses = []
    for number, chosen in enumerate(shares):
        batch = tensorflow.constant(images[chosen]), tensorflow.constant(labels[chosen])
        losses.append(float(teller.collective("step %d" % (number + 1), lambda batch=batch: run(*batch).numpy())))
    flat = tensorflow.concat([tensorflow.reshape(array, [-1]) for array in network.get_weights()], 0)
    rows = all_gather(teller, flat.numpy()[None, :])
    return losses, float((rows.max(0) - rows.min(0)).max())


def device_memory():
    """Return the peak of the device's memory, bytes."""
    if not state["on_cards"]:
        return None
    return state["tensorflow"].config.experimental.get_memory_info("GPU:0")["peak"]


def part():
    """Leave: TensorFlow has no farewell of its own."""
