"""Keeps a device busy and tells, round by round, whether it still computes the same and as fast; see pace.py.

A round trains the reference network for some batches, puts its first weights back and looks at the loss that these
give, and multiplies the same two matrices again and again. Every round does the same work, so that rates can be
compared; the loss and the product must come out as in the first round. Runs inside the interpreter under test; nothing
is judged here.
"""

import faulthandler
import math
import os
import sys
import time

BATCHES = 4  # that are trained with, in turn; a round trains with as many as its time allows
EVALUATED = 64  # images whose loss must come out alike
STUCK_ROUNDS = 20  # a round that takes so many times as long as it should hangs
STUCK_SECONDS = 60.0  # but none that takes less than this


class Load:
    """The work of a round."""

    def __init__(self, module, reference, settings, training, pace, numpy, load_sibling):
        """Build the network and the matrices, and do everything once."""
        self.module = module
        self.reference = reference
        self.training = training
        bench = pace.Bench(None, settings, training)
        bench.gpu = settings["device_used"] not in ("cpu", "")
        self.size = pace.STEP_BATCH
        self.images, self.labels = load_sibling("smoke_data").generate(BATCHES * self.size, settings["seed"])
        reference.build(settings)
        self.weights = training.initial_weights(numpy, settings["seed"])
        self.flops, self.multiply = 0.0, None
        if hasattr(module, "multiply"):
            self.multiply, self.flops, _ = module.multiply("float32", bench.side())
            self.multiply()
            module.wait()
            module.keep_product()
        half = settings["round_seconds"] / 2.0
        self.first_loss = self._loss_of_first_weights()
        self._train(BATCHES)
        began = time.perf_counter()
        self._train(BATCHES)
        self.batches = max(1, round(BATCHES * half / max(time.perf_counter() - began, 1e-6)))
        self.calls = 0
        if self.multiply:
            began = time.perf_counter()
            self.multiply()
            module.wait()
            self.calls = max(1, round(half / max(time.perf_counter() - began, 1e-6)))

    def _loss_of_first_weights(self):
        self.reference.initialise(self.weights)
        return self.reference.evaluate_batch(self.images[:EVALUATED], self.labels[:EVALUATED])

    def _train(self, batches):
        """Train with some batches; return their losses."""
        starts = [self.size * (number % BATCHES) for number in range(batches)]
        return [
            self.reference.train_batch(self.images[start : start + self.size], self.labels[start : start + self.size])
            for start in starts
        ]

    def round(self):
        """Do the work once; return what came out."""
        began = time.perf_counter()
        losses = self._train(self.batches)
        spent = time.perf_counter() - began
        loss = self._loss_of_first_weights()
        found = {
            "samples_per_second": self.batches * self.size / max(spent, 1e-9),
            "loss": loss,
            "finite": all(math.isfinite(value) for value in [*losses, loss]),
            "loss_deviation": abs(loss - self.first_loss) / max(abs(self.first_loss), 1e-12),
        }
        if self.multiply:
            began = time.perf_counter()
            for _ in range(self.calls):
                self.multiply()
            self.module.wait()
            found["gigaflops"] = self.calls * self.flops / max(time.perf_counter() - began, 1e-9) / 1e9
            finite, found["product_deviation"] = self.module.product_deviation()
            found["finite"] = found["finite"] and finite
            found["device_bytes"] = self.module.device_bytes()
        return found


def walk(module, settings, descriptor, load_sibling):
    """Keep a device busy.

    Args:
        module: pace_torch.py, pace_tensorflow.py or pace_keras.py.
        settings: package, size, device, seed, threads (0: as they are), seconds (of load), round_seconds,
            import_seconds (what takes longer hangs), spare (whether there is nothing to do where no GPU is used).
        descriptor: where events are written.
        load_sibling: function that loads another file of this folder by its name.
    """
    faulthandler.enable()
    training, pace = load_sibling("smoke_training"), load_sibling("pace")
    reporter = training.introduced(descriptor)
    try:
        _walk(module, settings, reporter, training, pace, load_sibling)
    except (Exception, SystemExit) as error:
        training.report_failure(reporter, error)
    sys.stderr.flush()
    # Not the ordinary way out: what a framework does when the interpreter ends says nothing about the load.
    os._exit(0)


def _walk(module, settings, reporter, training, pace, load_sibling):
    faulthandler.dump_traceback_later(settings["import_seconds"], exit=True)
    numpy = training.import_numpy()
    reference = pace.open_framework(module, settings, reporter, training, load_sibling)
    if settings["spare"] and settings["device_used"] == "cpu":
        reporter.send("end")
        return
    reporter.begin("build")
    load = Load(module, reference, settings, training, pace, numpy, load_sibling)
    reporter.begin("load")
    reporter.send("load", process=os.getpid(), threads=reference.threads(), allowed_cores=training.allowed_cores())
    allowed = max(STUCK_ROUNDS * settings["round_seconds"], STUCK_SECONDS)
    stop = time.monotonic() + settings["seconds"]
    while True:
        faulthandler.dump_traceback_later(allowed, exit=True)
        share = pace.Share(training)
        found = load.round()
        reporter.send("round", **dict(found, **share.until_now()))
        if time.monotonic() >= stop:
            break
    faulthandler.cancel_dump_traceback_later()
    reporter.send("memory", peak_bytes=training.peak_memory(), device_peak_bytes=reference.device_memory())
    reporter.send("end")
