"""Samples per second of `envcheck smoke` as a ratio to the same network in a bare script, for both frameworks.

    python benchmarks/smoke_throughput.py [--python PATH] [--rounds N] [--threads N] [--framework tf|torch|all] [--json]

The bare scripts are what a person writes who wants it quick and needs no progress: in torch a loop over slices
of tensors that are in memory already, in TensorFlow `model.fit` on arrays with `verbose=0`; same network, optimizer,
data, batch size and accuracy.  Both sides leave out the first epoch, and no validation is in the time.  Rounds
alternate, and the median over the rounds of smoke's rate to that of the bare script beside it counts: a machine that is
busy with other things slows both of a round alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from envcheck.smoke.child import INSIDE, run  # noqa: E402 - the checkout's own, wherever this is called from

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

SIDES = {"torch": (TORCH, "smoke_torch", "torch"), "tf": (TENSORFLOW, "smoke_keras", "tensorflow")}


def bare(interpreter: str, script: str) -> float:
    """Return samples/s of a bare script."""
    command = [interpreter, "-c", script, str(INSIDE), str(EPOCHS), str(BATCH), str(SAMPLES)]
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
    rates = [event["samples_per_second"] for event in events if event["event"] == "trained"]
    if not rates:
        raise SystemExit(f"{events[-1:]} {ending}")
    return rates[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", default="1", help="of each framework; more than are free measure the other work")
    parser.add_argument("--framework", choices=["tf", "torch", "all"], default="all")
    parser.add_argument("--json", action="store_true", help="one row a framework, for run.py")
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = asked.threads
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    held, rows = True, []
    for framework, (script, inside, package) in SIDES.items():
        if asked.framework not in {framework, "all"}:
            continue
        pairs = [(bare(asked.python, script), smoke(asked.python, inside, package)) for _ in range(asked.rounds)]
        ratio = statistics.median(mine / theirs for theirs, mine in pairs)
        best_bare, best_smoke = (max(pair[side] for pair in pairs) for side in (0, 1))
        held &= ratio >= BUDGET
        rows.append({"framework": framework, "ours": best_smoke, "bare": best_bare, "ratio": ratio})
        if asked.json:
            continue
        print(
            f"smoke {framework:<6} best {best_smoke:6.0f} samples/s  bare best {best_bare:6.0f} samples/s  "
            f"median ratio {ratio:.2f}  budget {BUDGET}  threads {asked.threads}"
        )
    if asked.json:
        print(json.dumps(rows))
    sys.exit(not held)


if __name__ == "__main__":
    main()
