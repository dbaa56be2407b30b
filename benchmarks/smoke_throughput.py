"""Samples per second of `envcheck smoke` as a ratio to the same network in a bare script, for both frameworks.

    python benchmarks/smoke_throughput.py [--python PATH] [--rounds N] [--threads N] [--framework tf|torch|all]
                                          [--network cnn|rnn|attention|all] [--json]

Three networks: the reference CNN, and of the workloads the recurrent one and the text classifier (encoder layers).

The bare scripts are what a person writes who wants it quick and needs no progress: in torch a loop over slices
of tensors that are in memory already, in TensorFlow `model.fit` on arrays with `verbose=0`; same network, optimizer,
data, batch size and accuracy.  Both sides leave out the first epoch, and no validation is in the time.  Rounds
alternate, and the median over the rounds of smoke's rate to that of the bare script beside it counts: a machine that is
busy with other things slows both of a round alike.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from envcheck.smoke.child import INSIDE, Ending, run  # noqa: E402 - the checkout's own, wherever this is called from

EPOCHS, BATCH, SAMPLES, BUDGET = 5, 32, 1500, 0.97

DATA = """
import sys, time
sys.path.append(sys.argv[1])
import smoke_data
epochs, batch, samples = (int(text) for text in sys.argv[2:5])
data = smoke_data.prepare("", samples, 0)
seconds = []
"""

REPORT = """
print(len(data["train"][1]) * (epochs - 1) / sum(seconds[1:]))
"""

TORCH = (
    DATA
    + """
import torch
from torch import nn
model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
                      nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10))
loss_of, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), 1e-3)
images, labels = (torch.from_numpy(array) for array in data["train"])
images = images.permute(0, 3, 1, 2).contiguous()
for epoch in range(epochs):
    began, right, total = time.perf_counter(), 0, 0.0
    order = torch.randperm(len(labels))
    for start in range(0, len(labels), batch):
        chosen = order[start : start + batch]
        found, wanted = model(images[chosen]), labels[chosen]
        loss = loss_of(found, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(wanted)
        right += (found.argmax(1) == wanted).sum().item()
    seconds.append(time.perf_counter() - began)
"""
    + REPORT
)

TENSORFLOW = (
    DATA
    + """
import tensorflow as tf
keras, layers = tf.keras, tf.keras.layers
model = keras.Sequential([keras.Input((28, 28, 1)), layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(),
    layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
    layers.Dense(128, activation="relu"), layers.Dense(10, activation="softmax")])
model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()
    def on_test_begin(self, logs=None):
        seconds.append(time.perf_counter() - self.began)
model.fit(*data["train"], batch_size=batch, epochs=epochs, validation_data=data["validation"], verbose=0,
          callbacks=[Clock()])
"""
    + REPORT
)

# Of a workload the network, its loss and its data are the workload's own; the loop is a person's.
WORKLOAD = """
import importlib.util, os, sys, time
def load(name):
    path = os.path.join(sys.argv[1], *name.split("/")) + ".py"
    specification = importlib.util.spec_from_file_location(name.rpartition("/")[2], path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
data, network = load("workloads/%s_data" % sys.argv[2]), load("workloads/%s_%s" % (sys.argv[2], sys.argv[3]))
data.load_sibling, network.data = load, data
size = dict(data.SIZES["standard"])
parts = data.prepare("", size, 0)
size.update(parts.pop("size", {}))
train, epochs, batch = parts["train"], size["epochs"], size["batch_size"]
seconds = []
"""

WORKLOAD_REPORT = """
print(len(train["target"]) * (epochs - 1) / sum(seconds[1:]))
"""

WORKLOAD_TORCH = (
    WORKLOAD
    + """
import torch
model = network.build(torch, size)
trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
optimizer = torch.optim.Adam(trained, size["learning_rate"])
inputs = {name: torch.from_numpy(array).long() for name, array in train["inputs"].items()}
labels = torch.from_numpy(train["target"]).long()
for epoch in range(epochs):
    began, total = time.perf_counter(), 0.0
    order = torch.randperm(len(labels))
    for start in range(0, len(labels), batch):
        chosen = order[start : start + batch]
        outputs = model(**{name: tensor[chosen] for name, tensor in inputs.items()})
        loss = network.loss(torch, outputs, labels[chosen]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    seconds.append(time.perf_counter() - began)
"""
    + WORKLOAD_REPORT
)

WORKLOAD_TENSORFLOW = (
    WORKLOAD
    + """
import tensorflow as tf
keras = tf.keras
model = network.build(keras, size)
def loss(target, outputs):
    return network.loss(keras, target, outputs)
model.compile(keras.optimizers.Adam(size["learning_rate"]), loss)
class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()
    def on_epoch_end(self, epoch, logs=None):
        seconds.append(time.perf_counter() - self.began)
model.fit(train["inputs"], train["target"], batch_size=batch, epochs=epochs, verbose=0, callbacks=[Clock()])
"""
    + WORKLOAD_REPORT
)

NETWORKS = {"cnn": "", "rnn": "recurrent", "attention": "text-classifier"}
WORKLOAD_SIDES = {
    "torch": (WORKLOAD_TORCH, "workload_torch", "torch", "torch"),
    "tf": (WORKLOAD_TENSORFLOW, "workload_keras", "tensorflow", "keras"),
}

SIDES = {"torch": (TORCH, "smoke_torch", "torch"), "tf": (TENSORFLOW, "smoke_keras", "tensorflow")}


def bare(interpreter: str, script: str, *arguments: str) -> float:
    """Return samples/s of a bare script."""
    command = [interpreter, "-c", script, str(INSIDE), *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    return float(ran.stdout.split()[-1])


def smoke(interpreter: str, script: str, package: str) -> float:
    """Return samples/s of envcheck's own training, with all that it does beside."""
    events: list[dict[str, Any]] = []
    told = {"package": package, "epochs": EPOCHS, "batch_size": BATCH, "samples": SAMPLES, "device": "cpu", "seed": 0}
    told |= {"data": "", "threads": 0, "speed_only": False}
    ending = run(interpreter, script, told, 600.0, events.append)
    return _rate(events, ending)


def workload(interpreter: str, engine: str, package: str, name: str) -> float:
    """Return samples/s of a workload's training, with all that the suite does beside."""
    events: list[dict[str, Any]] = []
    told = {"package": package, "workloads": [name], "size": "standard", "device": "cpu", "seed": 0, "data": ""}
    told |= {"alone": True, "precision": "float32", "compiled": False, "threads": 0, "reference": {}, "seconds": 600.0}
    ending = run(interpreter, engine, told, 600.0, events.append, driver="workload_walk")
    return _rate(events, ending)


def _rate(events: list[dict[str, Any]], ending: Ending) -> float:
    rates = [event["samples_per_second"] for event in events if event["event"] == "trained"]
    if not rates:
        raise SystemExit(f"{events[-1:]} {ending}")
    return rates[-1]


def pair(interpreter: str, framework: str, network: str) -> tuple[float, float]:
    """Return samples/s of the bare script and, right after it, of envcheck."""
    if not NETWORKS[network]:
        script, inside, package = SIDES[framework]
        theirs = bare(interpreter, script, str(EPOCHS), str(BATCH), str(SAMPLES))
        return theirs, smoke(interpreter, inside, package)
    script, engine, package, kind = WORKLOAD_SIDES[framework]
    name = NETWORKS[network]
    return bare(interpreter, script, name.replace("-", "_"), kind), workload(interpreter, engine, package, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1", help="of each framework; more than are free measure the other work")
    parser.add_argument("--framework", choices=["tf", "torch", "all"], default="all")
    parser.add_argument("--network", choices=[*NETWORKS, "all"], default="all")
    parser.add_argument("--json", action="store_true", help="one row a framework, for run.py")
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = asked.threads
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    held, rows = True, []
    for framework, network in itertools.product(SIDES, NETWORKS):
        if asked.framework not in {framework, "all"} or asked.network not in {network, "all"}:
            continue
        pairs = [pair(asked.python, framework, network) for _ in range(asked.rounds)]
        ratio = statistics.median(mine / theirs for theirs, mine in pairs)
        best_bare, best_smoke = (max(pair[side] for pair in pairs) for side in (0, 1))
        held &= ratio >= BUDGET
        row = {"framework": framework, "network": network}
        rows.append(row | {"ours": best_smoke, "bare": best_bare, "ratio": ratio})
        if asked.json:
            continue
        print(
            f"smoke {framework:<6} {network:<9} best {best_smoke:6.0f} samples/s  bare best {best_bare:6.0f} samples/s"
            f"  median ratio {ratio:.2f}  budget {BUDGET}  threads {asked.threads}"
        )
    if asked.json:
        print(json.dumps(rows))
    sys.exit(not held)


if __name__ == "__main__":
    main()
