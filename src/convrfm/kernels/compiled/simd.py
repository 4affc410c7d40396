"""SIMD vectors in Numba: 64 bytes of numbers that stay in registers, whatever the compiler's vectoriser thinks.

`Vector` exists inside compiled code only. `load` and `store` move it between registers and flat arrays, `full` makes
one from a scalar, and +, -, *, / act on vectors, and on vectors with scalars of the same dtype. LLVM splits it on
processors with shorter registers; AVX-512 holds it in one register. Arrays are flat and places in them computed by
hand, because slices count references, which costs time where threads share an array.

The arc cosine's kernel functions and the exponential are polynomials. With d = 1 - |r| in [0, 1] and w = sqrt(d), the
functions of `convrfm.kernels.base` are, without cancellation,

    kappa0(|r|) = 1 - w P(d),  kappa1(|r|) = |r| + w d R(d),  P(d) = arccos(1 - d) / (pi w)

and kappa0(-r) = 1 - kappa0(r), kappa1(-r) = kappa1(r) - r. P and R are analytic within |d| < 2: from the series of the
arcsine, P = sum_k p_k d^k with p_k = sqrt(2) C(2k, k) / (pi 8^k (2k + 1)), and since kappa1' = kappa0, R = sum_k p_k /
(k + 3/2) d^k. Their Chebyshev interpolants on [0, 1] gain a factor 5.8 with each degree.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

__all__ = [
    "VECTOR_BYTES", "Vector", "absolute", "aligned_empty", "arccos_coefficients", "arccos_factor", "broadcast", "copy",
    "exp2_of_minus", "fma", "full", "kappa1_coefficients", "kappa1_factor", "lanes", "lanes_of", "load", "repeated", "room",
    "slide", "sqrt", "store", "sum_rows", "total", "where_less",
]  # fmt: skip

VECTOR_BYTES = 64

# Contraction into fused multiply-adds is allowed; NaN and infinities keep their meaning. Reassociation is not allowed: its
# effect on a sum differs between the copies of a function that Numba optimises, one to run at once and one for its cache.
FAST = ("contract", "nsz", "arcp")

TERMS = 60  # of the series: the rest is below 2^-60


def lanes(dtype: Any) -> int:
    """Numbers of a dtype in one vector."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array whose first number starts a vector: a vector across two cache lines takes twice the time to load."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + VECTOR_BYTES, np.uint8)
    start = -memory.ctypes.data % VECTOR_BYTES
    return memory[start : start + size].view(dtype).reshape(shape)


def lanes_of(like: Any) -> int:
    """`lanes` of the dtype of an array; for compiled code, where `itemsize` is only known when it runs."""
    raise NotImplementedError


@overload(lanes_of)
def _lanes_of(like):
    count = Vector(like.dtype).count
    return lambda like: count


@numba.njit
def room(count, like):
    """A flat array for `count` vectors in the dtype of an array, aligned; for compiled code."""
    lanes = lanes_of(like)
    memory = np.empty((count + 1) * lanes, like.dtype)
    start = (-memory.ctypes.data % VECTOR_BYTES) // like.itemsize
    return memory[start : start + count * lanes]


class Vector(types.Type):
    """Numba's type of a vector of float32 or float64."""

    def __init__(self, dtype: types.Float) -> None:
        self.dtype = dtype
        self.count = 8 * VECTOR_BYTES // dtype.bitwidth
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        element = manager[vector.dtype].get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.count))


def _constant(kind: ir.VectorType, value: float) -> ir.Constant:
    """A vector of equal constants, for code that builds LLVM instructions."""
    return ir.Constant(kind, [value] * kind.count)


def _element(context: Any, builder: Any, array: types.Array, value_and_index: Any) -> Any:
    """Pointer to one number of a flat array."""
    value, index = value_and_index
    return builder.gep(context.make_array(array)(context, builder, value).data, [index])


def _pointer(context: Any, builder: Any, array: types.Array, value_and_index: Any, vector: Vector) -> Any:
    kind = context.get_value_type(vector).as_pointer()
    return builder.bitcast(_element(context, builder, array, value_and_index), kind)


@intrinsic
def load(typing_context, array, index):
    """Read the vector that starts at flat[index], in a contiguous one-dimensional array; no bounds are checked."""
    vector = Vector(array.dtype)

    def generate(context, builder, signature, arguments):
        value = builder.load(_pointer(context, builder, array, arguments, vector))
        value.align = array.dtype.bitwidth // 8
        return value

    return vector(array, types.intp), generate


@intrinsic
def store(typing_context, array, index, vector):
    """Write a vector to flat[index] and what follows; see `load`."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, arguments[:2], vector)
        builder.store(arguments[2], pointer).align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), generate


def _repeat(context: Any, builder: Any, vector: Vector, scalar: Any) -> Any:
    kind = context.get_value_type(vector)
    first = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, ir.Constant(kind, ir.Undefined), zeros)


@intrinsic
def broadcast(typing_context, array, index):
    """A vector of copies of flat[index]; see `load`."""
    vector = Vector(array.dtype)

    def generate(context, builder, signature, arguments):
        return _repeat(context, builder, vector, builder.load(_element(context, builder, array, arguments)))

    return vector(array, types.intp), generate


@intrinsic
def copy(typing_context, source, index, target, place):
    """target[place] = source[index] for one number of flat arrays of one dtype; see `load`."""

    def generate(context, builder, signature, arguments):
        number = builder.load(_element(context, builder, source, arguments[:2]))
        builder.store(number, _element(context, builder, target, arguments[2:]))
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), generate


@intrinsic
def _spread(typing_context, scalar):
    vector = Vector(scalar)

    def generate(context, builder, signature, arguments):
        return _repeat(context, builder, vector, arguments[0])

    return vector(scalar), generate


def full(like: Any, value: Any) -> Any:
    """A vector of equal numbers, in the dtype of an array or vector; for compiled code."""
    raise NotImplementedError


@overload(full)
def _full(like, value):
    real = np.float32 if like.dtype == types.float32 else np.float64
    return lambda like, value: _spread(real(value))


def _arithmetic(name: str) -> Any:
    @intrinsic
    def operation(typing_context, x, y):
        def generate(context, builder, signature, arguments):
            return getattr(builder, name)(*arguments, flags=FAST)

        return x(x, y), generate

    return operation


def _overload_operator(function: Callable[..., Any], operation: Any) -> None:
    @overload(function)
    def implementation(x, y):
        if isinstance(x, Vector) and isinstance(y, Vector):
            return lambda x, y: operation(x, y)
        if isinstance(x, Vector) and y == x.dtype:
            return lambda x, y: operation(x, _spread(y))
        if isinstance(y, Vector) and x == y.dtype:
            return lambda x, y: operation(_spread(x), y)
        return None


for _function, _name in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv"),
):  # fmt: skip
    _overload_operator(_function, _arithmetic(_name))


def _llvm_function(name: str, arity: int, vector: Vector) -> Any:
    """What generates a call of one of LLVM's functions of vectors."""

    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(vector)
        full_name = f"llvm.{name}.v{vector.count}f{vector.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * arity), full_name)
        return builder.call(function, arguments)

    return generate


@intrinsic
def sqrt(typing_context, x):
    """Square root, rounded correctly."""
    return x(x), _llvm_function("sqrt", 1, x)


@intrinsic
def absolute(typing_context, x):
    """|x|."""
    return x(x), _llvm_function("fabs", 1, x)


@intrinsic
def fma(typing_context, x, y, z):
    """Fused multiply-add x y + z."""
    return x(x, y, z), _llvm_function("fma", 3, x)


@intrinsic
def where_less(typing_context, x, y, chosen, other):
    """`chosen` where x < y, and `other` elsewhere (and where one of them is NaN)."""

    def generate(context, builder, signature, arguments):
        return builder.select(builder.fcmp_ordered("<", arguments[0], arguments[1]), arguments[2], arguments[3])

    return chosen(x, y, chosen, other), generate


@intrinsic
def total(typing_context, x):
    """The sum of the entries, a scalar."""

    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(x)
        name = f"llvm.vector.reduce.fadd.v{x.count}f{x.dtype.bitwidth}"
        function = ir.FunctionType(kind.element, [kind.element, kind])
        start = ir.Constant(kind.element, 0.0)
        reduce = cgutils.get_or_insert_function(builder.module, function, name)
        return builder.call(reduce, [start, *arguments], fastmath=("reassoc",))

    return x.dtype(x), generate


@numba.njit
def sum_rows(maps, place, stride, window):
    """The sum of q vectors that lie `stride` apart, the first at flat[place]; `window` is a tuple of q entries."""
    total = load(maps, place)
    for i in range(1, len(window)):
        total = total + load(maps, place + i * stride)
    return total


def repeated(vector: Any, columns: tuple[Any, ...]) -> tuple[Any, ...]:
    """A tuple of as many copies of a vector as `columns` has entries; for compiled code."""
    raise NotImplementedError


@overload(repeated)
def _repeated(vector, columns):
    if len(columns) == 0:
        return lambda vector, columns: ()
    return lambda vector, columns: (vector, *repeated(vector, columns[1:]))


def _sum_of(vectors: tuple[Any, ...], last: Any) -> Any:
    raise NotImplementedError


@overload(_sum_of)
def _sum_of_implementation(vectors, last):
    if len(vectors) == 0:
        return lambda vectors, last: last
    return lambda vectors, last: _sum_of(vectors[:-1], vectors[-1]) + last


@numba.njit
def slide(held, newest):
    """Sum a window, q - 1 held vectors and the newest, from left to right; also gives what the next window holds."""
    return _sum_of(held, newest), (*held, newest)[1:]


def _series(d: np.ndarray, integrated: bool) -> np.ndarray:
    total = np.zeros_like(d)
    for k in reversed(range(TERMS)):
        coefficient = math.sqrt(2) * math.comb(2 * k, k) / (math.pi * 8**k * (2 * k + 1))
        total = total * d + (coefficient / (k + 1.5) if integrated else coefficient)
    return total


def _coefficients(function: Callable[[np.ndarray], np.ndarray], degree: int) -> list[float]:
    """Coefficients of the interpolant on [0, 1], in powers of its argument, lowest first; exact at 0."""
    chebyshev = np.polynomial.Chebyshev.interpolate(function, degree, domain=[0, 1])
    coefficients = chebyshev.convert(kind=np.polynomial.Polynomial, domain=[-1, 1]).coef.tolist()
    return [float(function(np.zeros(1))[0]), *coefficients[1:]]


def arccos_coefficients(bits: int) -> list[float]:
    """Coefficients of P(d), lowest power first, for numbers of 32 or 64 bits."""
    return _coefficients(lambda d: _series(d, integrated=False), {32: 6, 64: 19}[bits])


def kappa1_coefficients(bits: int) -> list[float]:
    """Coefficients of R(d), as `arccos_coefficients`."""
    return _coefficients(lambda d: _series(d, integrated=True), {32: 5, 64: 19}[bits])


def _horner(builder: Any, x: Any, coefficients: list[float]) -> Any:
    kind = x.type
    name = f"llvm.fma.v{kind.count}f{32 if isinstance(kind.element, ir.FloatType) else 64}"
    function = builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
    value = _constant(kind, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = builder.call(function, [value, x, _constant(kind, coefficient)])
    return value


def _polynomial(coefficients: Callable[[int], list[float]], summary: str) -> Any:
    """A function of a vector with entries in [0, 1], by coefficients for its bit width, which become immediates."""

    def polynomial(typing_context, x):
        chosen = coefficients(x.dtype.bitwidth)
        return x(x), lambda context, builder, signature, arguments: _horner(builder, arguments[0], chosen)

    polynomial.__doc__ = summary
    return intrinsic(polynomial)


arccos_factor = _polynomial(arccos_coefficients, "P(d), see the top of the module.")
kappa1_factor = _polynomial(kappa1_coefficients, "R(d), see the top of the module.")


@intrinsic
def exp2_of_minus(typing_context, x):
    """2^-x for x >= 0; exponents beyond the normal numbers give the smallest of them."""
    bits, bias, shift, degree = (32, 127, 23, 6) if x.dtype.bitwidth == 32 else (64, 1023, 52, 12)
    coefficients = _coefficients(lambda fraction: np.exp2(-fraction), degree)

    def generate(context, builder, signature, arguments):
        kind = arguments[0].type
        integers = ir.VectorType(ir.IntType(bits), kind.count)
        limit = _constant(kind, float(bias - 1))
        clipped = builder.select(builder.fcmp_ordered("<", arguments[0], limit), arguments[0], limit)
        whole = builder.fptosi(clipped, integers)
        fraction = builder.fsub(clipped, builder.sitofp(whole, kind))
        power = builder.shl(builder.sub(_constant(integers, bias), whole), _constant(integers, shift))
        return builder.fmul(_horner(builder, fraction, coefficients), builder.bitcast(power, kind))

    return x(x), generate
