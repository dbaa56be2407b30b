"""Numbers that carry a bound on how far an implementation in a given number format may be off.

A `Bounded` holds a value, computed in float64, and beside it a bound on the absolute error of a program that computes
the same formula in another format: a running error analysis (J. H. Wilkinson; N. J. Higham, Accuracy and Stability of
Numerical Algorithms, 2nd edition, section 3.3). Each operation rounds its own result once and hands on what its
operands were already off. A formula written with these numbers is at once the reference and its tolerance.

Runs inside the interpreter under test: Python 3.6 and any NumPy.
"""

import math

import numpy as np

# Of n rounding errors that are independent and of mean zero the sum stays below LIKELY * sqrt(n) units but for a chance
# of 2 exp(-LIKELY**2 / 2), here 2.5e-14 a sum (N. J. Higham and T. Mary, A new approach to probabilistic rounding error
# analysis, SIAM J. Sci. Comput. 41, 2019).
LIKELY = 8.0

# Elementary functions of vector libraries are off by up to four units in the last place, that is eight unit roundoffs:
# SLEEF states 1 to 3.5, the CUDA programming guide 1 to 4 for float32 without fast mathematics.
FUNCTION_ROUNDINGS = 8.0


# The tanh inside cuDNN's recurrent layers is no library function: on an H100 with cuDNN 9.19 its float32 is off by up
# to 175 roundoffs of the value (a sweep from -9 to 9; sigmoid and the products there are exact to a few).
CUDNN_TANH = 2.0**-16


class Rounding:
    """How an implementation rounds.

    `unit` is the unit roundoff of what is stored, `sum_unit` that of the accumulator of a sum or a product of
    matrices, `operand_unit` that of the operands of a product of matrices (0: they are taken as they are),
    `constant_unit` that of a formula's constants, `smallest` the smallest normal number, below which a result may
    become zero. `chops` says that sums are cut off instead of rounded, so that their errors all point the same way:
    tensor cores do that (M. Fasi, N. J. Higham, M. Mikaitis, S. Pranesh, Numerical behavior of NVIDIA tensor cores,
    PeerJ Computer Science 7, 2021). `independent` says that errors which come together are taken for independent of
    each other, as those of the many numbers of a network's layers nearly are, so that their squares add up; else the
    worst is expected, that all of them point the same way. `tanh_unit` is the relative error of a hyperbolic tangent
    that is less exact than a library's.
    """

    def __init__(
        self,
        unit,
        sum_unit,
        smallest,
        operand_unit=0.0,
        constant_unit=0.0,
        chops=False,
        independent=False,
        tanh_unit=0.0,
    ):
        """Keep them."""
        self.unit = unit
        self.sum_unit = sum_unit
        self.smallest = smallest
        self.operand_unit = operand_unit
        self.constant_unit = max(unit, constant_unit)
        self.chops = chops
        self.independent = independent
        self.tanh_unit = tanh_unit

    def together(self, *errors):
        """Return what errors make together."""
        if self.independent:
            return np.sqrt(sum(error**2 for error in errors))
        return sum(errors)

    def carried(self, product, errors, factors):
        """Return what a product that is linear in both operands makes of errors of one of them."""
        if self.independent:
            return np.sqrt(product(errors**2, factors**2))
        return product(errors, factors)

    def growth(self, terms):
        """Return how far a sum of so many terms may be off, relative to the sum of their magnitudes."""
        if self.chops:
            return 2 * terms * self.sum_unit
        return min(float(terms), LIKELY * math.sqrt(terms)) * self.sum_unit


# Unit roundoff and smallest normal number of each format: IEEE 754-2019 for float64, float32 and float16; bfloat16 has
# 8 bits of significand, tf32 11, both the exponent of float32.
UNITS = {
    "float64": (2.0**-53, 2.0**-1022),
    "float32": (2.0**-24, 2.0**-126),
    "tf32": (2.0**-24, 2.0**-126),
    "bfloat16": (2.0**-8, 2.0**-126),
    "float16": (2.0**-11, 2.0**-14),
}
TF32_UNIT = 2.0**-11


def rounding_of(dtype, wide_sums=True, constant_unit=0.0, chops=False, independent=False, tanh_unit=0.0):
    """Return how a healthy implementation in a format rounds; `wide_sums` sum 16-bit formats up in float32."""
    unit, smallest = UNITS[dtype]
    sum_unit = min(unit, UNITS["float32"][0]) if wide_sums else unit
    # A product of tf32 may cut its operands off instead of rounding them.
    operand_unit = 2 * TF32_UNIT if dtype == "tf32" else 0.0
    return Rounding(unit, sum_unit, smallest, operand_unit, constant_unit, chops, independent, tanh_unit)


def rounded(array, dtype):
    """Return a float64 array rounded to the numbers of a format, to nearest, ties to even."""
    array = np.asarray(array, np.float64)
    if dtype == "float64":
        return array
    if dtype == "float16":
        return array.astype(np.float16).astype(np.float64)
    single = array.astype(np.float32)
    dropped = {"float32": 0, "tf32": 13, "bfloat16": 16}[dtype]
    if dropped:
        bits = single.view(np.uint32).astype(np.uint64)
        half = np.uint64((1 << (dropped - 1)) - 1) + ((bits >> np.uint64(dropped)) & np.uint64(1))
        cut = ((bits + half) >> np.uint64(dropped)) << np.uint64(dropped)
        single = np.where(np.isfinite(single), cut.astype(np.uint32).view(np.float32), single)
    return single.astype(np.float64)


class Bounded:
    """A value and a bound on its absolute error, arrays of the same shape; see the top of this file."""

    __slots__ = ("error", "rounding", "value")

    def __init__(self, value, error, rounding):
        """Keep them."""
        self.value = value
        self.error = error
        self.rounding = rounding

    @property
    def shape(self):
        """Return the shape of both."""
        return self.value.shape

    def after_rounding(self, value, error):
        """Return what an operation gave: it rounds once, and what is too small may become zero."""
        rounding = self.rounding
        return Bounded(value, rounding.together(error, rounding.unit * _finite(value)) + rounding.smallest, rounding)

    def _same(self, change):
        """Return a rearrangement, which rounds nothing."""
        return Bounded(change(self.value), change(self.error), self.rounding)

    def constant(self, number):
        """Return a constant of a formula, which is rounded to the format once."""
        value = np.asarray(number, np.float64)
        # 1, 0.5 and 3 are the same in every format.
        unit = 0.0 if value.astype(np.float16) == value else self.rounding.constant_unit
        return Bounded(value, unit * np.abs(value), self.rounding)

    def _of(self, other):
        return other if isinstance(other, Bounded) else self.constant(other)

    def __add__(self, other):
        """Add."""
        other = self._of(other)
        return self.after_rounding(self.value + other.value, self.rounding.together(self.error, other.error))

    __radd__ = __add__

    def __neg__(self):
        """Change the sign, which is exact."""
        return Bounded(-self.value, self.error, self.rounding)

    def __sub__(self, other):
        """Subtract."""
        return self + (-self._of(other))

    def __rsub__(self, other):
        """Subtract from a constant."""
        return (-self) + other

    def __mul__(self, other):
        """Multiply, one by one."""
        other = self._of(other)
        mine, its = _finite(self.value), _finite(other.value)
        error = self.rounding.together(mine * other.error, self.error * its) + self.error * other.error
        return self.after_rounding(self.value * other.value, error)

    __rmul__ = __mul__

    def __truediv__(self, other):
        """Divide, one by one."""
        other = self._of(other)
        quotient = self.value / other.value
        least = np.maximum(np.abs(other.value) - other.error, self.rounding.smallest)
        return self.after_rounding(quotient, (self.error + np.abs(quotient) * other.error) / least)

    def __rtruediv__(self, other):
        """Divide a constant."""
        return self.constant(other) / self

    def __getitem__(self, index):
        """Choose a part."""
        return self._same(lambda array: array[index])

    def reshape(self, *shape):
        """Give another shape."""
        return self._same(lambda array: array.reshape(*shape))

    def transpose(self, *axes):
        """Exchange axes."""
        return self._same(lambda array: array.transpose(*axes))

    def sum(self, axis, keepdims=False):
        """Add up along an axis."""
        terms = self.value.shape[axis]
        rounding = self.rounding

        def total(array):
            return np.sum(array, axis=axis, keepdims=keepdims)

        carried = np.sqrt(total(self.error**2)) if rounding.independent else total(self.error)
        error = rounding.together(carried, rounding.growth(terms) * total(_finite(self.value)))
        return self.after_rounding(total(self.value), error)

    def maximum(self, axis):
        """Return the largest along an axis, which is kept; choosing rounds nothing."""
        return Bounded(
            np.max(self.value, axis=axis, keepdims=True), np.max(self.error, axis=axis, keepdims=True), self.rounding
        )

    def zeros(self):
        """Return as many zeros, which are exact."""
        return Bounded(np.zeros(self.shape), np.zeros(self.shape), self.rounding)

    def where(self, chosen, otherwise=0.0):
        """Return this where `chosen` is true, else an exact constant."""
        return Bounded(np.where(chosen, self.value, otherwise), np.where(chosen, self.error, 0.0), self.rounding)

    def _function(self, value, error):
        """Return what an elementary function gave, which is less exact than a single operation."""
        more = (FUNCTION_ROUNDINGS - 1) * self.rounding.unit * _finite(value)
        return self.after_rounding(value, error + more)

    def exp(self):
        """Return e to the power of it."""
        value = np.exp(self.value)
        return self._function(value, value * np.expm1(np.minimum(self.error, 700.0)))

    def log(self):
        """Return the natural logarithm."""
        least = np.maximum(self.value - self.error, self.rounding.smallest)
        return self._function(np.log(self.value), self.error / least)

    def sqrt(self):
        """Return the square root."""
        value = np.sqrt(self.value)
        least = np.sqrt(np.maximum(self.value - self.error, 0.0))
        return self.after_rounding(value, self.error / np.maximum(value + least, math.sqrt(self.rounding.smallest)))

    def tanh(self):
        """Return the hyperbolic tangent."""
        value = np.tanh(self.value)
        carried = self.error * (1.0 - np.tanh(self._nearest_to_zero()) ** 2)
        return self._function(value, carried + self.rounding.tanh_unit * np.abs(value))

    def sigmoid(self):
        """Return 1 / (1 + exp(-x)); an implementation by way of tanh is off by a roundoff of 1, not of the result."""
        value = logistic(self.value)
        near = logistic(self._nearest_to_zero())
        return self._function(value, self.error * near * (1.0 - near) + 2 * self.rounding.unit * np.ones_like(value))

    def softplus(self):
        """Return log(1 + exp(x)), two functions one after the other."""
        value = np.maximum(self.value, 0.0) + np.log1p(np.exp(-np.abs(self.value)))
        more = FUNCTION_ROUNDINGS * self.rounding.unit * value
        return self._function(value, self.error + more)

    def erf(self):
        """Return the error function.

        Implementations compute it as 1 less a product (M. Abramowitz, I. A. Stegun, Handbook of Mathematical Functions,
        7.1.26), so that near 0 they are off by roundoffs of 1, not of the result.
        """
        value = error_function(self.value)
        slope = 2.0 / math.sqrt(math.pi) * np.exp(-(self._nearest_to_zero() ** 2))
        return self._function(value, self.error * slope + FUNCTION_ROUNDINGS * self.rounding.unit * np.ones_like(value))

    def _nearest_to_zero(self):
        """Return the number within the bound at which a bell-shaped slope is steepest."""
        return np.maximum(np.abs(self.value) - self.error, 0.0)


def exact(value, rounding):
    """Return numbers that the format holds as they are."""
    value = np.asarray(value, np.float64)
    return Bounded(value, np.zeros(value.shape), rounding)


def bilinear(product, left, right, terms, spread=1.0):
    """Return a product that is linear in both operands, such as that of two matrices, or a convolution.

    Args:
        product: function of two arrays.
        left: the first operand.
        right: the second one.
        terms: how many products are added up for one number of the result.
        spread: by how much an algorithm that adds and subtracts before it multiplies may be further off; where it is
            not 1 the error of each number depends on the largest one, and on a tensor core its operands round anew.
    """
    rounding = left.rounding
    (a, a_error), (b, b_error) = _as_operand(left), _as_operand(right)
    a_size, b_size = np.abs(a), np.abs(b)
    magnitude = product(a_size, b_size)
    if spread != 1.0:
        magnitude = spread * np.max(magnitude)
    errors = [rounding.growth(terms) * magnitude]
    if spread != 1.0 and rounding.chops:
        errors.append(max(rounding.unit, rounding.operand_unit) * magnitude)
    if a_error.any():
        errors.append(rounding.carried(product, a_error, b_size + b_error))
    if b_error.any():
        errors.append(rounding.carried(lambda error, size: product(size, error), b_error, a_size))
    error = rounding.together(*errors) + terms * rounding.smallest
    return left.after_rounding(product(left.value, right.value), error)


def _as_operand(number):
    """Return a value and its error as a matrix unit takes it in: what is not exact may be rounded once more."""
    extra = number.rounding.operand_unit
    error = number.error
    return number.value, (error + extra * np.abs(number.value) if extra and error.any() else error)


def contract(formula, left, right, terms):
    """Return `einsum` of two operands; NumPy's own loops compute it, so that no BLAS takes part in the reference."""
    return bilinear(lambda a, b: np.einsum(formula, a, b), left, right, terms)


def _finite(value):
    """Return magnitudes; what is not finite has none."""
    return np.where(np.isfinite(value), np.abs(value), 0.0)


def logistic(value):
    """Return 1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(value))
    return np.where(value >= 0, 1.0, small) / (1.0 + small)


error_function = np.vectorize(math.erf, otypes=[np.float64])
