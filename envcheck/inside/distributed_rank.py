"""One rank of the distributed training; started by torchrun or by distributed_launch.py.

    python distributed_rank.py torch|tensorflow SETTINGS_JSON

Takes the steps meet, all-reduce, bandwidth, alone, train and writes what it sees as JSON lines to standard output;
whatever the framework prints goes to standard error.
"""

import faulthandler
import importlib.util
import json
import os
import signal
import sys
import traceback

FOLDER = os.path.dirname(os.path.abspath(__file__))
# A script's folder comes first on the path; a user's own script would not have this one there.
sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder or ".") != FOLDER]

# Steps of training that are compared with one process's.
STEPS = {"quick": 6, "standard": 12, "full": 40}
BATCH = 64  # images of all ranks together in a step
LEARNING_RATE = 0.05
# Bytes of a message, by the size of the run.
MESSAGES = {
    "quick": (1024, 65536, 4194304),
    "standard": (1024, 65536, 1048576, 16777216),
    "full": (256, 4096, 65536, 1048576, 16777216, 134217728),
}
REPEATS = {"quick": 5, "standard": 9, "full": 15}
WARM_UP = 2


def load_sibling(name):
    """Load another file of this folder."""
    specification = importlib.util.spec_from_file_location(name, os.path.join(FOLDER, name + ".py"))
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Teller:
    """Writes one rank's events, and where it is among the collective operations."""

    def __init__(self, descriptor, rank):
        """Write to an open file descriptor."""
        self.descriptor, self.rank = descriptor, rank
        self.number = 0

    def send(self, event, **values):
        """Write one event in one write, so that ranks do not tear each other's lines."""
        values.update(event=event, rank=self.rank)
        os.write(self.descriptor, (json.dumps(values) + "\n").encode("ascii"))

    def begin(self, step):
        """Write that a step begins; the first rank speaks for all."""
        self.step = step
        self.send("step" if self.rank == 0 else "beat", step=step)

    def collective(self, where, operation, *arguments):
        """Run a collective operation; whoever watches sees which ranks have come to it."""
        self.number += 1
        self.send("enter", number=self.number, where=where)
        result = operation(*arguments)
        self.send("leave", number=self.number)
        return result


def contribution(np, rank, count, dtype="float64"):
    """Return what a rank adds: numbers that are exact in every format and differ by rank and place."""
    places = np.arange(count)
    return ((places % 61) - 30 + (rank + 1) * (places % 7)).astype(dtype)


def main():
    """Take the steps."""
    descriptor = os.dup(1)
    os.dup2(2, 1)
    training = load_sibling("smoke_training")
    training.die_with_the_parent()
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    settings = json.loads(sys.argv[2])
    teller = Teller(descriptor, int(os.environ.get("RANK", "0")))
    teller.step = "import"
    try:
        _steps(load_sibling("distributed_" + sys.argv[1]), settings, teller, training)
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        teller.send(
            "failure",
            step=teller.step,
            kind=getattr(error, "kind", "exception"),
            type="" if isinstance(error, training.RefusalError) else type(error).__name__,
            message=str(error)[:1500],
            traceback=[("%s:%s in %s: %s" % (frame[0], frame[1], frame[2], frame[3]))[:180] for frame in frames[-8:]],
            cause=getattr(error, "cause", ""),
        )
        traceback.print_exc()
    sys.stderr.flush()
    # Not the ordinary way out: what a framework does when the interpreter ends says nothing about training.
    os._exit(0)


def _steps(framework, settings, teller, training):
    import time

    size = settings["size"]
    teller.begin("import")
    import numpy as np

    teller.send("hello", pid=os.getpid(), numpy=np.__version__)
    group = framework.load(settings, teller, training)
    teller.send("framework", **group)

    teller.begin("meet")
    teller.send("met", **framework.meet(teller))

    teller.begin("all-reduce")
    world = settings["ranks"]
    for dtype in framework.dtypes():
        # 4,099 is a prime: no block size divides it.
        for count in (1, 4099):
            wanted = sum(contribution(np, rank, count) for rank in range(world))
            found = framework.all_reduce(teller, contribution(np, teller.rank, count), dtype)
            worst = int(np.argmax(np.abs(found - wanted)))
            teller.send(
                "sum",
                dtype=dtype,
                count=count,
                right=bool(np.array_equal(found, wanted)),
                place=worst,
                found=float(found[worst]),
                wanted=float(wanted[worst]),
            )
    found = framework.all_gather(teller, contribution(np, teller.rank, 33))
    wanted = np.concatenate([contribution(np, rank, 33) for rank in range(world)])
    teller.send("gather", right=bool(np.array_equal(found, wanted)))

    teller.begin("bandwidth")
    for count in MESSAGES[size]:
        send = framework.message(count // 4)
        seconds = []
        for repeat in range(WARM_UP + REPEATS[size]):
            began = time.perf_counter()
            teller.collective("all-reduce of %d bytes" % count, send)
            if repeat >= WARM_UP:
                seconds.append(time.perf_counter() - began)
        teller.send("bandwidth", bytes=count, seconds=sorted(seconds))

    data = load_sibling("smoke_data")
    images, labels = data.generate(BATCH * 4, settings["seed"])
    weights = training.initial_weights(np, settings["seed"])
    steps = STEPS[size]
    batches = [np.arange(start % len(labels), start % len(labels) + BATCH) for start in range(0, steps * BATCH, BATCH)]
    if teller.rank == 0:
        teller.begin("alone")
        teller.send("alone", losses=framework.train_alone(teller, images, labels, weights, batches, LEARNING_RATE))
    teller.begin("train")
    # Not every number of ranks divides the batch: the shares are weighted by their sizes.
    shares = [np.array_split(batch, world)[teller.rank] for batch in batches]
    began = time.perf_counter()
    losses, spread = framework.train(teller, images, labels, weights, shares, LEARNING_RATE, BATCH)
    seconds = time.perf_counter() - began
    teller.send("together", losses=losses, spread=spread, seconds=seconds, images=BATCH * len(shares))
    teller.send("rank-end", peak_bytes=training.peak_memory(), device_peak_bytes=framework.device_memory())
    framework.part()


if __name__ == "__main__":
    main()
