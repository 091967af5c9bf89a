"""Vector instructions for the CPU kernels, written out where a compiler would not find them, and kernels that are kept.

Imports numba: only the kernel modules beside it import this one.
"""

import hashlib
import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast, no_type_check

import llvmlite.binding
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])
KERNEL_SOURCES = ("vector_code.py", "vector_math.py", "cpu_kernels.py", "progress_kernels.py")


def _digest() -> str:
    found = hashlib.sha256()
    for name in KERNEL_SOURCES:
        path = Path(__file__).with_name(name)
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()[:12]


DIGEST = _digest()


def compiled(function: Function) -> Function:
    """Compile a kernel that runs without Python's lock, and keep the machine code where a place for it can be written.

    numba looks only at the file a kernel stands in when it asks whether kept code is still good; the name it is kept
    under therefore carries a digest of all kernel files. Without a writable place each process compiles anew.
    """
    function.__qualname__ = f"{function.__qualname__}-{DIGEST}"
    try:
        return cast(Function, njit(nogil=True, error_model="numpy", cache=True)(function))
    except RuntimeError:  # numba found no directory that it may write
        return cast(Function, njit(nogil=True, error_model="numpy")(function))


def inlined(function: Function) -> Function:
    """Compile a function that only kernels call; it becomes part of them."""
    return cast(Function, njit(nogil=True, error_model="numpy")(function))


def summing(function: Function) -> Function:
    """Like :func:`inlined`, with sums in any order: several running totals in a vector register, NaN as ever."""
    return cast(Function, njit(nogil=True, error_model="numpy", fastmath={"reassoc", "nsz", "contract"})(function))


def _registers() -> tuple[int, int, int]:
    """``(lanes, rows, vectors)``: float64 numbers a register, and the block of pairs that fits the register file."""
    settings: Any = config  # numba makes its attributes at run time
    chosen = settings.CPU_FEATURES
    if chosen is None and settings.CPU_NAME is None:
        try:
            host = llvmlite.binding.get_host_cpu_features()
        except RuntimeError:  # LLVM cannot tell on this system
            host = {}
        features = {name for name, there in host.items() if there}
    else:
        features = {name[1:] for name in (chosen or "").split(",") if name.startswith("+")}
    if "avx512f" in features and "avx512dq" in features:
        return 8, 8, 2
    if "avx2" in features:
        return 4, 4, 2
    if platform.machine().lower() in ("aarch64", "arm64"):
        return 2, 4, 4
    return 2, 4, 2


LANES, ROWS, VECTORS = _registers()
WIDTH = LANES * VECTORS
"""Models a panel of float64; a panel of float32 has twice as many."""
ALIGNMENT = 64
"""Bytes: what the register kernel reads begins at multiples of it."""
CLASS_BLOCK = 32
"""Classes added up before the sum joins the others: float32 sums over many classes lose fewer digits so."""
SMALLEST_SINGLE, SMALLEST_DOUBLE = 2.0**-50, 2.0**-960
"""The least affinity that a sum of float32 or float64 products can be trusted with."""
NOTHING_SINGLE = 2.0**-80
"""Roots of probabilities below it are 0 in float32 panels (in float64 ones, below 1e-304): what that leaves out is
far less than the least affinity, and processors are slow with denormal numbers."""
GROUP, SINGLE_GROUP = 4, 8

_I32, _I64, _F32, _F64 = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()


@intrinsic
@no_type_check
def bits_of(typing, number):
    """The bits of a float64 as an int64."""
    return types.int64(types.float64), lambda context, builder, signature, args: builder.bitcast(args[0], _I64)


@intrinsic
@no_type_check
def float_of(typing, bits):
    """The float64 of these bits."""
    return types.float64(types.int64), lambda context, builder, signature, args: builder.bitcast(args[0], _F64)


@intrinsic
@no_type_check
def fused(typing, first, second, third):
    """``first · second + third``, rounded once where the machine can, as in :func:`multiply_affinities`."""

    def generate(context, builder, signature, args):
        return builder.call(_declared(builder, "llvm.fmuladd.f64", _F64, 3), args)

    return types.float64(types.float64, types.float64, types.float64), generate


def _declared(builder: Any, name: str, kind: Any, arguments: int) -> Any:
    found = builder.module.globals.get(name)
    return found or ir.Function(builder.module, ir.FunctionType(kind, [kind] * arguments), name)


def _constant(kind: Any, value: float) -> Any:
    return ir.Constant(kind, [value] * kind.count)


LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 6.93147180369123816490e-01, 1.90821492927058770002e-10
ROUNDING = 6755399441055744.0  # 1.5 · 2⁵²: added to a number, it leaves the nearest integer in the lowest bits
LEAST = -700.0  # below, e^x is taken for 0: far from denormal numbers, which processors are slow with


@intrinsic
@no_type_check
def exponentials(typing, address, count):
    """``e^x`` in place of ``count`` numbers x ≤ 0, a multiple of ``LANES``; 0 below −700; NaN stays NaN.

    ``x = k ln 2 + r`` with ln 2 in two parts, a Taylor polynomial of degree 13 for ``e^r``, and k put into the
    exponent: within two units of the last place. A compiler left to itself uses half of a wide register.
    """
    vector, integer = ir.VectorType(_F64, LANES), ir.VectorType(_I64, LANES)

    def generate(context, builder, signature, args):
        multiply_add = _declared(builder, f"llvm.fmuladd.v{LANES}f64", vector, 3)

        def fma(a, b, c):
            return builder.call(multiply_add, [a, b, c])

        def number(value):
            return _constant(vector, value)

        start = builder.inttoptr(args[0], _F64.as_pointer())
        with cgutils.for_range_slice(builder, args[1].type(0), args[1], args[1].type(LANES)) as (index, _):
            place = builder.bitcast(builder.gep(start, [index]), vector.as_pointer())
            x = builder.load(place, align=8)
            shifted = fma(x, number(LOG2_E), number(ROUNDING))
            whole = builder.fsub(shifted, number(ROUNDING))
            rest = fma(whole, number(-LN2_LOW), fma(whole, number(-LN2_HIGH), x))
            value = number(1 / math.factorial(13))
            for k in range(12, -1, -1):
                value = fma(value, rest, number(1 / math.factorial(k)))
            power = builder.add(builder.bitcast(shifted, integer), _constant(integer, 1023))
            power = builder.bitcast(builder.shl(power, _constant(integer, 52)), vector)
            tiny = builder.fcmp_ordered("<", x, number(LEAST))
            builder.store(builder.select(tiny, number(0.0), builder.fmul(value, power)), place, align=8)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@no_type_check
def _register_kernel(single):
    """The loop in which all time goes, for panels of float32 or float64.

    A panel holds ``(sample, class, model)`` for a few neighbouring models. For ``ROWS`` models of one panel and all
    models of another, the affinities ``Σ_c s_i(c) s_j(c)`` of a sample are built in registers, class by class, and
    multiplied into a float64 product for each pair: no logarithm is taken here. After every few samples the products'
    binary exponents go to integers of their own, so that nothing underflows however many samples follow.

    Four float64 affinities down to 2⁻²⁴⁰, or eight float32 affinities down to 2⁻⁵⁰, can be multiplied before that.
    A smaller one is noticed after its group of samples; then the float64 products are as they were before the group,
    and the float32 ones are spoilt. The answer is how many samples went in: all, or those before that group.
    """
    lanes = 2 * LANES if single else LANES
    width = lanes * VECTORS
    number = _F32 if single else _F64
    vector = ir.VectorType(number, lanes)
    product, integer = ir.VectorType(_F64, LANES), ir.VectorType(_I64, LANES)
    suffix = f"v{lanes}f{32 if single else 64}"
    pairs = ROWS * VECTORS
    at_once = SINGLE_GROUP if single else GROUP

    def count(value):
        return ir.Constant(_I64, value)

    def generate(context, builder, signature, args):
        rows, cols, samples, classes, factors, exponents = args
        rows, cols = (builder.inttoptr(x, number.as_pointer()) for x in (rows, cols))
        factors, exponents = (
            builder.inttoptr(factors, _F64.as_pointer()),
            builder.inttoptr(exponents, _I64.as_pointer()),
        )
        multiply_add = _declared(builder, f"llvm.fmuladd.{suffix}", vector, 3)

        def at(pointer, offset, kind):
            return builder.bitcast(builder.gep(pointer, [count(offset)]), kind.as_pointer())

        def load(pointer, offset, kind):
            return builder.load(at(pointer, offset, kind), align=ALIGNMENT)

        def store(value, pointer, offset):
            builder.store(value, at(pointer, offset, value.type), align=ALIGNMENT)

        def factor(k):
            return load(factors, k * LANES, product)

        def spread(scalar):
            nothing = ir.Constant(vector, ir.Undefined)
            one = builder.insert_element(nothing, scalar, ir.Constant(_I32, 0))
            return builder.shuffle_vector(one, nothing, _constant(ir.VectorType(_I32, lanes), 0))

        def least_of(values):
            while len(values) > 1:
                rest = values[len(values) // 2 * 2 :]
                couples = zip(values[::2], values[1::2], strict=False)
                values = [builder.select(builder.fcmp_ordered("<", a, b), a, b) for a, b in couples] + rest
            return values[0]

        def phis(block, *values):
            nodes = [builder.phi(value.type) for value in values]
            for node, value in zip(nodes, values, strict=True):
                node.add_incoming(value, block)
            return nodes

        def again(block, nodes, values):
            for node, value in zip(nodes, values, strict=True):
                node.add_incoming(value, block)

        entry = builder.block
        group_head, sample_head, block_head, class_loop, block_end, sample_end, keep, leave = (
            builder.append_basic_block(name)
            for name in ("group", "sample", "classes", "class", "classes_end", "sample_end", "keep", "leave")
        )
        zeros = [_constant(vector, 0.0)] * pairs
        builder.branch(group_head)

        builder.position_at_end(group_head)
        done, group_row, group_col = heads = phis(entry, count(0), rows, cols)
        before = [] if single else [factor(k) for k in range(pairs)]
        group_end = builder.add(done, count(at_once))
        group_end = builder.select(builder.icmp_signed("<", group_end, samples), group_end, samples)
        builder.branch(sample_head)

        builder.position_at_end(sample_head)
        sample, sample_row, sample_col, least, *running = sample_nodes = phis(
            group_head, done, group_row, group_col, _constant(vector, 1.0), *before
        )
        builder.branch(block_head)

        builder.position_at_end(block_head)
        begin, block_row, block_col, *totals = block_nodes = phis(sample_head, count(0), sample_row, sample_col, *zeros)
        end = classes
        if single:
            end = builder.add(begin, count(CLASS_BLOCK))
            end = builder.select(builder.icmp_signed("<", end, classes), end, classes)
        builder.branch(class_loop)

        builder.position_at_end(class_loop)
        index, row, col, *sums = class_nodes = phis(block_head, begin, block_row, block_col, *zeros)
        for step in range(2):  # classes are padded to an even number
            columns = [load(col, step * width + v * lanes, vector) for v in range(VECTORS)]
            for r in range(ROWS):
                scalar = spread(builder.load(builder.gep(row, [count(step * width + r)])))
                for v in range(VECTORS):
                    k = r * VECTORS + v
                    sums[k] = builder.call(multiply_add, [scalar, columns[v], sums[k]])
        index = builder.add(index, count(2))
        row, col = builder.gep(row, [count(2 * width)]), builder.gep(col, [count(2 * width)])
        again(class_loop, class_nodes, [index, row, col, *sums])
        builder.cbranch(builder.icmp_signed("<", index, end), class_loop, block_end)

        builder.position_at_end(block_end)
        affinities = [builder.fadd(t, s) for t, s in zip(totals, sums, strict=True)] if single else sums
        again(block_end, block_nodes, [index, row, col, *affinities])
        builder.cbranch(builder.icmp_signed("<", index, classes), block_head, sample_end)

        builder.position_at_end(sample_end)
        if single:
            least = least_of([least, *affinities])
            doubles = []
            for value in affinities:
                for half in range(2):
                    places = ir.Constant(ir.VectorType(_I32, LANES), list(range(half * LANES, (half + 1) * LANES)))
                    part = builder.shuffle_vector(value, ir.Constant(vector, ir.Undefined), places)
                    doubles.append(builder.fpext(part, product))
            for k, value in enumerate(doubles):
                store(builder.fmul(factor(k), value), factors, k * LANES)
        after = [builder.fmul(p, a) for p, a in zip(running, affinities, strict=True)] if not single else []
        sample = builder.add(sample, count(1))
        again(sample_end, sample_nodes, [sample, row, col, least, *after])
        test = builder.append_basic_block("test")
        builder.cbranch(builder.icmp_signed("<", sample, group_end), sample_head, test)

        builder.position_at_end(test)
        if not single:  # every affinity is at most 1, so a product above the bound has lost nothing on the way
            least = least_of(after)
        bound = _constant(vector, SMALLEST_SINGLE if single else SMALLEST_DOUBLE)
        mask = builder.bitcast(builder.fcmp_ordered(">=", least, bound), ir.IntType(lanes))
        good = builder.icmp_unsigned("==", mask, ir.Constant(ir.IntType(lanes), (1 << lanes) - 1))
        builder.cbranch(good, keep, leave)

        builder.position_at_end(keep)
        for k in range(pairs * (2 if single else 1)):
            bits = builder.bitcast(factor(k) if single else after[k], integer)
            exponent = builder.sub(builder.lshr(bits, _constant(integer, 52)), _constant(integer, 1023))
            store(builder.add(load(exponents, k * LANES, integer), exponent), exponents, k * LANES)
            fraction = builder.and_(bits, _constant(integer, (1 << 52) - 1))
            store(builder.or_(fraction, _constant(integer, 1023 << 52)), factors, k * LANES)
        again(keep, heads, [sample, row, col])
        builder.cbranch(builder.icmp_signed("<", sample, samples), group_head, leave)

        builder.position_at_end(leave)
        (answer,) = phis(test, done)
        again(keep, [answer], [sample])
        return answer

    @intrinsic
    def kernel(typing, rows, cols, samples, classes, factors, exponents):
        return types.intp(*[types.intp] * 6), generate

    return kernel


multiply_affinities = _register_kernel(single=False)
multiply_single_affinities = _register_kernel(single=True)
