"""Central slices out of, and into, an oversampled half-complex 3D Fourier grid.

The grid holds cells (z, x, y) of a spectrum in the convention of `fourier.py`, y being the half axis. It is
stored centred and with a halo, so that the stencil of any point with ``py >= 0`` lies inside the array and the
inner loop has no branches: cell ``(Z, X, Y)`` stands for frequency ``(Z - reach, X - reach, Y - 1)`` in grid units,
``reach = ceil(os * r_max) + 2``. A point with ``py < 0`` is taken at its Friedel mate.

Interpolation is separable, `width` (3 or 4) cells wide, with weights from a table interpolated linearly. The
stencil itself is written as vector instructions (4 cells of a row = 8 floats), because numba leaves LLVM's
vectoriser for straight-line code switched off; with ``NUMBA_DISABLE_JIT=1`` plain Python twins take over.

Sums of the insertion are 64-bit fixed point: integer sums do not depend on their order, so that any split of the
images over ranks and threads gives the same bits.
"""

import math

import llvmlite.binding as llvm
import numba
import numpy as np
from numba.core import cgutils, types
from numba.extending import intrinsic

from imagic4d_core.kernels._jit import kernel

#: Rows of the weight table per cell; linear interpolation between them is good to 1e-6.
TABLE_STEPS = 512
#: Columns of the grid below frequency 0 of the half axis.
LEFT = 1
#: Cells beyond the largest frequency on every side.
HALO = 2
#: Edge of the tiles in which slices are worked on.
TILE = 8

_AVX512 = bool(llvm.get_host_cpu_features().get("avx512dq", False))
_MAGIC = 6755399441055744.0  # 1.5 * 2**52: adding it leaves the rounded integer in the low bits of a double


def _vec(element, count):
    from llvmlite import ir

    return ir.VectorType(element, count)


class _Emit:
    """A few lines of vector code around llvmlite's builder."""

    def __init__(self, context, builder):
        from llvmlite import ir

        self.ir, self.context, self.b = ir, context, builder
        self.f32, self.f64, self.i64 = ir.FloatType(), ir.DoubleType(), ir.IntType(64)

    def data(self, typ, value):
        return self.context.make_array(typ)(self.context, self.b, value).data

    def load(self, pointer, index, element, count, align):
        at = self.b.gep(pointer, [index], inbounds=True)
        return self.b.load(self.b.bitcast(at, _vec(element, count).as_pointer()), align=align)

    def store(self, vector, pointer, index, align):
        at = self.b.gep(pointer, [index], inbounds=True)
        self.b.store(vector, self.b.bitcast(at, vector.type.as_pointer()), align=align)

    def splat(self, scalar, count):
        undef = self.ir.Constant(_vec(scalar.type, count), self.ir.Undefined)
        one = self.b.insert_element(undef, scalar, self.ir.Constant(self.ir.IntType(32), 0))
        return self.shuffle(one, undef, [0] * count)

    def shuffle(self, a, b, order):
        mask = self.ir.Constant(_vec(self.ir.IntType(32), len(order)), order)
        return self.b.shuffle_vector(a, b, mask)

    def muladd(self, a, b, c):
        name = f"llvm.fmuladd.v{a.type.count}f32"
        fnty = self.ir.FunctionType(a.type, [a.type] * 3)
        return self.b.call(cgutils.get_or_insert_function(self.b.module, fnty, name), [a, b, c])

    def lane(self, vector, index):
        return self.b.extract_element(vector, self.ir.Constant(self.ir.IntType(32), index))

    def weights(self, table, t):
        """Four weights at table position t (a double in rows)."""
        row = self.b.fptosi(t, self.i64)
        frac = self.b.fptrunc(self.b.fsub(t, self.b.sitofp(row, self.f64)), self.f32)
        at = self.b.mul(row, self.ir.Constant(self.i64, 4))
        lo = self.load(table, at, self.f32, 4, 4)
        hi = self.load(table, self.b.add(at, self.ir.Constant(self.i64, 4)), self.f32, 4, 4)
        return self.muladd(self.splat(frac, 4), self.b.fsub(hi, lo), lo)

    def fixed(self, vector):
        """Single to 64-bit integers: one instruction with AVX-512; else add a magic number as double, take the bits."""
        count = vector.type.count
        if _AVX512:
            return self.b.fptosi(vector, _vec(self.i64, count))
        v64, vi = _vec(self.f64, count), _vec(self.i64, count)
        magic = self.ir.Constant(v64, [_MAGIC] * count)
        bits = self.b.bitcast(self.b.fadd(self.b.fpext(vector, v64), magic), vi)
        return self.b.sub(bits, self.ir.Constant(vi, [0x4338000000000000] * count))


def _offsets(emit, base, sz, sx, width):
    """Cell numbers of the width x width rows of a stencil, z by z."""
    for a in range(width):
        off = emit.b.add(base, emit.b.mul(sz, emit.ir.Constant(emit.i64, a)))
        yield [emit.b.add(off, emit.b.mul(sx, emit.ir.Constant(emit.i64, c))) for c in range(width)]


def _make_take(width):
    @intrinsic
    def take(typingctx, grid, base, sz, sx, table, tz, tx, ty):
        sig = types.UniTuple(types.float32, 2)(
            grid, types.int64, types.int64, types.int64, table, types.float64, types.float64, types.float64
        )

        def codegen(context, builder, signature, args):
            e = _Emit(context, builder)
            cells, tab = e.data(signature.args[0], args[0]), e.data(signature.args[4], args[4])
            wz, wx, wy = (e.weights(tab, t) for t in args[5:8])
            wide_x = [e.shuffle(wx, wx, [c] * 8) for c in range(width)]
            total = e.ir.Constant(_vec(e.f32, 8), [0.0] * 8)
            for a, rows in enumerate(_offsets(e, *args[1:4], width)):
                acc = None
                for off, w in zip(rows, wide_x, strict=True):
                    row = e.load(cells, builder.mul(off, e.ir.Constant(e.i64, 2)), e.f32, 8, 4)
                    acc = builder.fmul(w, row) if acc is None else e.muladd(w, row, acc)
                total = e.muladd(e.shuffle(wz, wz, [a] * 8), acc, total)
            s = builder.fmul(total, e.shuffle(wy, wy, [0, 0, 1, 1, 2, 2, 3, 3]))
            s = builder.fadd(e.shuffle(s, s, [0, 1, 2, 3]), e.shuffle(s, s, [4, 5, 6, 7]))
            s = builder.fadd(e.shuffle(s, s, [0, 1]), e.shuffle(s, s, [2, 3]))
            return context.make_tuple(builder, signature.return_type, [e.lane(s, 0), e.lane(s, 1)])

        return sig, codegen

    return take


def _make_put(width):
    @intrinsic
    def put(typingctx, num, den, base, sz, sx, table, tz, tx, ty, re, im, w):
        sig = types.void(
            num, den, types.int64, types.int64, types.int64, table, types.float64, types.float64, types.float64,
            types.float32, types.float32, types.float32,
        )  # fmt: skip

        def codegen(context, builder, signature, args):
            e = _Emit(context, builder)
            pn, pd, tab = (e.data(signature.args[i], args[i]) for i in (0, 1, 5))
            wz, wx, wy = (e.weights(tab, t) for t in args[6:9])
            pair = e.splat(args[9], 8)
            value = e.shuffle(pair, e.splat(args[10], 8), [0, 9, 2, 11, 4, 13, 6, 15])
            value = builder.fmul(value, e.shuffle(wy, wy, [0, 0, 1, 1, 2, 2, 3, 3]))
            weight = builder.fmul(wy, e.splat(args[11], 4))
            wide_x = [e.shuffle(wx, wx, [c] * 8) for c in range(width)]
            for a, rows in enumerate(_offsets(e, *args[2:5], width)):
                wide_z = e.shuffle(wz, wz, [a] * 8)
                low_z = e.shuffle(wide_z, wide_z, [0, 1, 2, 3])
                vz, dz = builder.fmul(value, wide_z), builder.fmul(weight, low_z)
                for off, w in zip(rows, wide_x, strict=True):
                    off2 = builder.mul(off, e.ir.Constant(e.i64, 2))
                    low = e.shuffle(w, w, [0, 1, 2, 3])
                    for pointer, at, v, count in ((pn, off2, builder.fmul(vz, w), 8), (pd, off, builder.fmul(dz, low), 4)):
                        old = e.load(pointer, at, e.i64, count, 8)
                        e.store(builder.add(old, e.fixed(v)), pointer, at, 8)
            return context.get_dummy_value()

        return sig, codegen

    return put


def _table_weights(table, t):
    row = int(t)
    frac = np.float32(t - row)
    return table[4 * row : 4 * row + 4] + frac * (table[4 * row + 4 : 4 * row + 8] - table[4 * row : 4 * row + 4])


def _python_take(width):
    def take(grid, base, sz, sx, table, tz, tx, ty):
        wz, wx, wy = (_table_weights(table, t) for t in (tz, tx, ty))
        re = im = np.float32(0)
        for a in range(width):
            for c in range(width):
                at = 2 * (base + a * sz + c * sx)
                row = grid[at : at + 8].reshape(4, 2)
                re += wz[a] * wx[c] * (wy * row[:, 0]).sum()
                im += wz[a] * wx[c] * (wy * row[:, 1]).sum()
        return re, im

    return take


def _python_put(width):
    def put(num, den, base, sz, sx, table, tz, tx, ty, re, im, w):
        wz, wx, wy = (_table_weights(table, t) for t in (tz, tx, ty))
        for a in range(width):
            for c in range(width):
                at = base + a * sz + c * sx
                row = (wz[a] * wx[c] * wy).astype(np.float64)
                num[2 * at : 2 * at + 8 : 2] += np.rint(row * re).astype(np.int64)
                num[2 * at + 1 : 2 * at + 8 : 2] += np.rint(row * im).astype(np.int64)
                den[at : at + 4] += np.rint(row * w).astype(np.int64)

    return put


_maker = (_python_take, _python_put) if getattr(numba.config, "DISABLE_JIT", False) else (_make_take, _make_put)
_take3, _take4 = _maker[0](3), _maker[0](4)
_put3, _put4 = _maker[1](3), _maker[1](4)


@kernel
def _ramps(size, top, shifts, out):
    """exp(-2 pi i k d / size), k = -top..top, for every image and both axes: float32 (n, 2, 2 top + 1, 2)."""
    for i in range(shifts.shape[0]):
        for axis in range(2):
            for k in range(-top, top + 1):
                a = -2.0 * math.pi * k * shifts[i, axis] / size
                out[i, axis, k + top, 0] = math.cos(a)
                out[i, axis, k + top, 1] = math.sin(a)


@kernel
def _spread3(v):
    """Put two zero bits between the ten low bits of v."""
    v &= 0x3FF
    v = (v | (v << 16)) & 0x30000FF
    v = (v | (v << 8)) & 0x300F00F
    v = (v | (v << 4)) & 0x30C30C3
    return (v | (v << 2)) & 0x9249249


@kernel
def plan_tiles(use, matrices, top, os, reach, tiles, keys):
    """List the 8 x 8 tiles of the slices with a sorting key that brings neighbours in the grid together.

    A slice of a large grid touches megabytes; the tiles of many slices, taken in the (Morton) order of their place in
    the grid, find their cells in the cache.

    Parameters
    ----------
    use : int64 (m,)
        Numbers of the images.
    matrices : float64 (n, 3, 3)
    top : int
        Largest frequency.
    os : float
    reach : int
    tiles : int32 (m * ceil((2 top + 1) / 8) * ceil((top + 1) / 8), 3)
        Output: image, first kx, first ky.
    keys : uint32, one for each tile

    Returns
    -------
    int
        Number of tiles listed.
    """
    n = 0
    for j in range(use.shape[0]):
        i = use[j]
        for kx in range(-top, top + 1, TILE):
            near_x = max(kx, -(kx + TILE - 1), 0)
            for ky in range(0, top + 1, TILE):
                if near_x * near_x + ky * ky > top * top:
                    continue
                cx, cy = os * (kx + 0.5 * (TILE - 1)), os * (ky + 0.5 * (TILE - 1))
                x = cx * matrices[i, 0, 0] + cy * matrices[i, 1, 0]
                y = cx * matrices[i, 0, 1] + cy * matrices[i, 1, 1]
                z = cx * matrices[i, 0, 2] + cy * matrices[i, 1, 2]
                if y < 0.0:
                    x, y, z = -x, -y, -z
                a = max(0, int(z) + reach) >> 3
                b = max(0, int(x) + reach) >> 3
                c = int(y) >> 3
                keys[n] = (_spread3(a) << 2) | (_spread3(b) << 1) | _spread3(c)
                tiles[n, 0], tiles[n, 1], tiles[n, 2] = i, kx, ky
                n += 1
    return n


def tile_order(use, matrices, top, os, reach):
    """Tiles of the slices of the images `use` in the order of `plan_tiles`: int32 (tiles, 3)."""
    most = len(use) * -(-(2 * top + 1) // TILE) * -(-(top + 1) // TILE)
    tiles, keys = np.empty((most, 3), np.int32), np.empty(most, np.uint32)
    n = plan_tiles(use, matrices, top, os, reach, tiles, keys)
    return tiles[np.argsort(keys[:n], kind="stable")]


def phase_ramps(box, top, shifts):
    """Phase factors of shifts, float32 (n, 2, 2 * top + 1, 2)."""
    out = np.empty((len(shifts), 2, 2 * top + 1, 2), np.float32)
    _ramps(box, top, shifts, out)
    return out


@kernel
def slice_grid(grid, shape, box, r_max, os, width, table, matrices, tiles, ramps, out):
    """Take central slices out of a grid.

    Parameters
    ----------
    grid : float32 (2 * Z * X * Y,)
        Flat complex64 grid of shape `shape`, values already compensated for the stencil.
    shape : int64 (3,)
    box : int
        Image size n.
    r_max : int
        Largest frequency taken, in Fourier pixels of the box; points with ``|k| > r_max`` are left as they are in `out`.
    os : float
        Grid cells per Fourier pixel.
    width : {3, 4}
    table : float32 (4 * (TABLE_STEPS + 2),)
    matrices : float64 (n, 3, 3)
        Poses; image axes are rows 0 (x, lines) and 1 (y, pixels).
    tiles : int32 (m, 3)
        Work list from `tile_order`.
    ramps : float32 (n, 2, 2 * r_max + 1, 2)
        Phase factors from `phase_ramps`: the result is moved by their shifts.
    out : float32 (n, box, box // 2 + 1, 2)
        Half spectra in numpy's order, zeroed by the caller.
    """
    sx = shape[2]
    sz = shape[1] * sx
    reach = shape[0] // 2
    half = 0.5 * width
    top = r_max
    steps = TABLE_STEPS
    last = min(top, (box - 1) // 2)
    limit = top * top
    for t in range(tiles.shape[0]):
        i = tiles[t, 0]
        m00, m01, m02 = os * matrices[i, 0, 0], os * matrices[i, 0, 1], os * matrices[i, 0, 2]
        m10, m11, m12 = os * matrices[i, 1, 0], os * matrices[i, 1, 1], os * matrices[i, 1, 2]
        for kx in range(tiles[t, 1], min(tiles[t, 1] + TILE, last + 1)):
            if kx < -last:
                continue
            row = kx if kx >= 0 else kx + box
            cx, sx_ = ramps[i, 0, kx + top, 0], ramps[i, 0, kx + top, 1]
            for ky in range(tiles[t, 2], min(tiles[t, 2] + TILE, last + 1)):
                if kx * kx + ky * ky > limit:
                    break
                px = kx * m00 + ky * m10
                py = kx * m01 + ky * m11
                pz = kx * m02 + ky * m12
                sign = 1.0
                if py < 0.0:
                    px, py, pz, sign = -px, -py, -pz, -1.0
                px -= half
                py -= half
                pz -= half
                fx, fy, fz = math.floor(px), math.floor(py), math.floor(pz)
                base = (int(fz) + 1 + reach) * sz + (int(fx) + 1 + reach) * sx + int(fy) + 1 + LEFT
                if width == 3:
                    re, im = _take3(grid, base, sz, sx, table, (pz - fz) * steps, (px - fx) * steps, (py - fy) * steps)
                else:
                    re, im = _take4(grid, base, sz, sx, table, (pz - fz) * steps, (px - fx) * steps, (py - fy) * steps)
                im = np.float32(im * sign)
                cy, sy = ramps[i, 1, ky + top, 0], ramps[i, 1, ky + top, 1]
                cr = cx * cy - sx_ * sy
                ci = cx * sy + sx_ * cy
                out[i, row, ky, 0] = re * cr - im * ci
                out[i, row, ky, 1] = re * ci + im * cr


@kernel
def insert_slices(
    num, den, shape, box, r_max, os, width, table, images, matrices, tiles, ramps, weights, ctf, scale_num, scale_den, density,
    rows,
):
    """Add central slices to fixed-point sums: the adjoint of `slice_grid`.

    Parameters
    ----------
    num : int64 (2 * Z * X * Y,)
        Sum of stencil * weight * ctf * value, real and imaginary parts interleaved, in units of 1 / `scale_num`; or some
        consecutive rows z of it.
    den : int64 (Z * X * Y,)
        Sum of stencil * weight * ctf**2 in units of 1 / `scale_den`.
    shape, box, r_max, os, width, table, matrices, tiles, ramps
        As in `slice_grid`; the images are moved by the shifts of `ramps`.
    images : float32 (n, box, box // 2 + 1, 2)
        Half spectra in numpy's order.
    weights : float32 (n,)
    ctf : float32 (n, box, box // 2 + 1) or (n, 0, 0)
        Contrast transfer functions; an empty array stands for 1.
    scale_num, scale_den : float
        Fixed-point units per unit; powers of two.
    density : float
        Extra weight ``(|k| + 0.5) * density`` if density > 0: it evens out the density of slices inside a stencil near
        the origin, and divides out again as both sums get it.
    rows : int64 (3,)
        Only points whose stencil begins in rows `rows[0]` to `rows[1]` (excluded) go in; `rows[2]` is the first row of the
        arrays. Stencils reach `width` - 1 rows further.
    """
    low, high, first = rows[0], rows[1], rows[2]
    sx = shape[2]
    sz = shape[1] * sx
    reach = shape[0] // 2
    half = 0.5 * width
    top = r_max
    steps = TABLE_STEPS
    last = min(top, (box - 1) // 2)
    limit = top * top
    has_ctf = ctf.shape[1] > 0
    spread = os * 0.75 * TILE  # more than half a tile's diagonal
    bottom_z, top_z = low - reach - 1 + half - spread, high - reach - 1 + half + spread
    for t in range(tiles.shape[0]):
        i = tiles[t, 0]
        m00, m01, m02 = os * matrices[i, 0, 0], os * matrices[i, 0, 1], os * matrices[i, 0, 2]
        m10, m11, m12 = os * matrices[i, 1, 0], os * matrices[i, 1, 1], os * matrices[i, 1, 2]
        # no point of the tile, nor its mate, is in these rows
        middle = (tiles[t, 1] + 0.5 * (TILE - 1)) * m02 + (tiles[t, 2] + 0.5 * (TILE - 1)) * m12
        if (middle > top_z or middle < bottom_z) and (-middle > top_z or -middle < bottom_z):
            continue
        for n in range(TILE * TILE):
            kx, ky = tiles[t, 1] + n // TILE, tiles[t, 2] + n % TILE
            # in column 0 the two halves say the same: take one
            if kx * kx + ky * ky > limit or kx > last or kx < -last or ky > last or (ky == 0 and kx < 0):
                continue
            row = kx if kx >= 0 else kx + box
            px = kx * m00 + ky * m10
            py = kx * m01 + ky * m11
            pz = kx * m02 + ky * m12
            sign = 1.0
            if py < 0.0:
                px, py, pz, sign = -px, -py, -pz, -1.0
            px -= half
            py -= half
            pz -= half
            fx, fy, fz = math.floor(px), math.floor(py), math.floor(pz)
            row_z = int(fz) + 1 + reach
            if row_z < low or row_z >= high:
                continue
            base = (row_z - first) * sz + (int(fx) + 1 + reach) * sx + int(fy) + 1 + LEFT
            w = float(weights[i])
            if kx == 0 and ky == 0:
                w *= 0.5  # its own mate: `close_edges` adds it once more
            if density > 0.0:
                w *= density * (math.sqrt(kx * kx + ky * ky) + 0.5)
            c = 1.0
            if has_ctf:
                c = float(ctf[i, row, ky])
            cx, sx_ = ramps[i, 0, kx + top, 0], ramps[i, 0, kx + top, 1]
            cy, sy = ramps[i, 1, ky + top, 0], ramps[i, 1, ky + top, 1]
            cr = cx * cy - sx_ * sy
            ci = cx * sy + sx_ * cy
            a, b = images[i, row, ky, 0], images[i, row, ky, 1]
            f = w * c * scale_num
            re = np.float32((a * cr - b * ci) * f)
            im = np.float32((a * ci + b * cr) * f * sign)
            dw = np.float32(w * c * c * scale_den)
            tz, tx, ty = (pz - fz) * steps, (px - fx) * steps, (py - fy) * steps
            if width == 3:
                _put3(num, den, base, sz, sx, table, tz, tx, ty, re, im, dw)
            else:
                _put4(num, den, base, sz, sx, table, tz, tx, ty, re, im, dw)


@kernel
def store_grid(f, shape, out):
    """Copy a half spectrum into a grid with halo.

    Parameters
    ----------
    f : float32 (P, P, keep, 2)
        Spectrum in numpy's order; P is even.
    shape : int64 (3,)
        Shape of the grid.
    out : float32 (2 * Z * X * Y,)
    """
    p = f.shape[0]
    keep = f.shape[2]
    reach = shape[0] // 2
    n = 0
    for z in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            for y in range(-LEFT, shape[2] - LEFT):
                yy = y if y <= p // 2 else y - p  # the spectrum is periodic
                if yy >= 0:
                    sign, a, b = np.float32(1.0), z % p, x % p
                else:
                    sign, a, b, yy = np.float32(-1.0), -z % p, -x % p, -yy
                if yy < keep:
                    out[n] = f[a, b, yy, 0]
                    out[n + 1] = sign * f[a, b, yy, 1]
                else:
                    out[n] = 0.0
                    out[n + 1] = 0.0
                n += 2


@kernel
def _chord(radius2, distance2):
    """Number of cells y = 0, 1 ... within a ball on a line at squared distance `distance2` from its centre (at most one more)."""
    return int(math.sqrt(radius2 - distance2)) + 1 if distance2 <= radius2 else 0


@kernel
def fold_rows(num, den, use, shape, low, high, first, unit_num, unit_den, edge_num, edge_den, out_num, out_den):
    """Turn some rows of fixed-point sums, added over sets, into floats; the columns that need Friedel mates wait in the edges.

    Parameters
    ----------
    num : int64 (sets, 2 * rows * X * Y)
    den : int64 (sets, rows * X * Y)
    use : int64 (m,)
        Sets that are added.
    shape : int64 (3,)
        Of the whole grid.
    low, high, first : int
        Rows z to do, `high` excluded; first row of the arrays.
    unit_num, unit_den : float
        Value of one fixed-point unit.
    edge_num : int64 (Z, X, 2 * LEFT + 1, 2)
    edge_den : int64 (Z, X, 2 * LEFT + 1)
        The columns y = -LEFT to LEFT of these rows, for `close_edges`.
    out_num : float32 (Z, X, Y - LEFT, 2)
    out_den : float32 (Z, X, Y - LEFT)
        Zeroed by the caller; cells outside the ball that slices reach are not visited.
    """
    nz, nx, ny = shape[0], shape[1], shape[2]
    for z in range(low, high):
        for x in range(nx):
            at = ((z - first) * nx + x) * ny
            for y in range(2 * LEFT + 1):
                for s in use:
                    edge_num[z, x, y, 0] += num[s, 2 * (at + y)]
                    edge_num[z, x, y, 1] += num[s, 2 * (at + y) + 1]
                    edge_den[z, x, y] += den[s, at + y]
            at += LEFT
            c2 = (z - nz // 2) ** 2 + (x - nx // 2) ** 2
            for y in range(LEFT + 1, min(ny - LEFT, _chord((nz // 2 + 2) ** 2, c2))):
                re, im, w = 0, 0, 0
                for s in use:
                    re += num[s, 2 * (at + y)]
                    im += num[s, 2 * (at + y) + 1]
                    w += den[s, at + y]
                out_num[z, x, y, 0] = re * unit_num
                out_num[z, x, y, 1] = im * unit_num
                out_den[z, x, y] = w * unit_den


@kernel
def close_edges(shape, unit_num, unit_den, edge_num, edge_den, out_num, out_den):
    """Fill the columns y = 0 to LEFT from the edges that `fold_rows` made of all rows.

    Every point was inserted at one of its two mates; cells of column 0 and the halo column get the other one here.
    """
    nz, nx, ny = shape[0], shape[1], shape[2]
    for z in range(nz):
        for x in range(nx):
            mate_z, mate_x = nz - 1 - z, nx - 1 - x
            c2 = (z - nz // 2) ** 2 + (x - nx // 2) ** 2
            for y in range(min(LEFT + 1, ny - LEFT, _chord((nz // 2 + 2) ** 2, c2))):
                here, there = LEFT + y, LEFT - y
                re = edge_num[z, x, here, 0] + edge_num[mate_z, mate_x, there, 0]
                im = edge_num[z, x, here, 1] - edge_num[mate_z, mate_x, there, 1]
                out_num[z, x, y, 0] = re * unit_num
                out_num[z, x, y, 1] = im * unit_num
                out_den[z, x, y] = (edge_den[z, x, here] + edge_den[mate_z, mate_x, there]) * unit_den


@kernel
def shell_means(den, os, means, counts):
    """Mean of `den`, float32 (Z, X, Y), over shells one Fourier pixel wide; counts of cells likewise, float64 (shells,)."""
    reach = den.shape[0] // 2
    for z in range(den.shape[0]):
        for x in range(den.shape[1]):
            c2 = (z - reach) ** 2 + (x - reach) ** 2
            for y in range(min(den.shape[2], _chord((means.shape[0] * os) ** 2, c2))):
                q = math.sqrt((z - reach) ** 2 + (x - reach) ** 2 + y * y) / os
                s = int(q + 0.5)
                if s < means.shape[0]:
                    f = 1.0 if y == 0 else 2.0
                    means[s] += f * den[z, x, y]
                    counts[s] += f
    for s in range(means.shape[0]):
        means[s] /= max(counts[s], 1.0)


@kernel
def divide_grid(num, den, os, limit, extra, factor, out):
    """Fill a padded half spectrum with ``num / max(den + extra, floor) * factor``.

    Parameters
    ----------
    num, den : float32 (Z, X, Y, 2) and (Z, X, Y)
        As made by `fold_rows` and `close_edges`.
    limit : float
        Cells beyond this radius (in cells) stay 0.
    extra : float64 (shells, 2)
        Added to the denominator, and its smallest value, by shell; an infinite value makes the shell 0.
    factor : float64 (steps,)
        Filter curve at radii of 1/8 Fourier pixel.
    out : float32 (P, P, keep, 2)
        Zeroed by the caller.
    """
    p = out.shape[0]
    reach = den.shape[0] // 2
    top = min(reach, p // 2 - 1)
    for z in range(-top, top + 1):
        for x in range(-top, top + 1):
            for y in range(min(top + 1, out.shape[2], _chord(limit * limit, z * z + x * x))):
                q = math.sqrt(z * z + x * x + y * y)
                if q > limit:
                    continue
                s = min(int(q / os + 0.5), extra.shape[0] - 1)
                w = den[z + reach, x + reach, y] + extra[s, 0]
                if w < extra[s, 1]:
                    w = extra[s, 1]
                if w > 0.0 and w < math.inf:
                    f = factor[min(int(q / os * 8.0 + 0.5), factor.shape[0] - 1)] / w
                    out[z % p, x % p, y, 0] = num[z + reach, x + reach, y, 0] * f
                    out[z % p, x % p, y, 1] = num[z + reach, x + reach, y, 1] * f


@kernel
def cross_shells(na, da, nb, db, os, floor_a, floor_b, out):
    """Sums over shells of two normalised grids: out[s] = (Re a b*, |a|^2, |b|^2), float64 (shells, 3).

    Cells where either weight is below its shell's floor are left out.
    """
    reach = da.shape[0] // 2
    for z in range(da.shape[0]):
        for x in range(da.shape[1]):
            for y in range(da.shape[2]):
                s = int(math.sqrt((z - reach) ** 2 + (x - reach) ** 2 + y * y) / os + 0.5)
                if s >= out.shape[0]:
                    continue
                wa, wb = float(da[z, x, y]), float(db[z, x, y])
                if wa <= floor_a[s] or wb <= floor_b[s]:
                    continue
                f = 1.0 if y == 0 else 2.0
                ar, ai = na[z, x, y, 0] / wa, na[z, x, y, 1] / wa
                br, bi = nb[z, x, y, 0] / wb, nb[z, x, y, 1] / wb
                out[s, 0] += f * (ar * br + ai * bi)
                out[s, 1] += f * (ar * ar + ai * ai)
                out[s, 2] += f * (br * br + bi * bi)


@kernel
def add_slabs(directions, os, half_width, weight):
    """Add the Fourier slabs of projections of an object of finite size: the denominator of the exact filter.

    Parameters
    ----------
    directions : float64 (n, 3)
        View directions.
    os : float
        Grid cells per Fourier pixel.
    half_width : float
        First zero of the slab's profile sinc(x), in Fourier pixels: box / object diameter.
    weight : float32 (Z, X, Y)
        Cells (z, x, y >= 0) around the origin; the sum over the slabs is added.
    """
    reach = weight.shape[0] // 2
    h = half_width * os
    for j in range(directions.shape[0]):
        dx, dy, dz = directions[j, 0], directions[j, 1], directions[j, 2]
        for z in range(-reach, reach + 1):
            for x in range(-reach, reach + 1):
                c = z * dz + x * dx
                if abs(dy) > 1e-6:
                    lo, hi = (-h - c) / dy, (h - c) / dy
                    if lo > hi:
                        lo, hi = hi, lo
                    first = max(0, int(math.ceil(max(lo, -1.0))))
                    last = min(weight.shape[2] - 1, int(math.floor(min(hi, 1e9))))
                elif abs(c) < h:
                    first, last = 0, weight.shape[2] - 1
                else:
                    continue
                for y in range(first, last + 1):
                    u = abs(c + y * dy) / h
                    if u < 1e-6:
                        weight[z + reach, x + reach, y] += 1.0
                    elif u < 1.0:
                        weight[z + reach, x + reach, y] += math.sin(math.pi * u) / (math.pi * u)


@kernel
def sample_filter(weight, os, matrices, r_max, least, out):
    """Exact filters of images: 1 / (slab sum at the points of their slices), by trilinear interpolation.

    Parameters
    ----------
    weight : float32 (Z, X, Y)
        Made by `add_slabs`.
    matrices : float64 (n, 3, 3)
    r_max : int
    least : float
        Smallest sum: every image lies in its own slab.
    out : float32 (n, m, m // 2 + 1)
        Filled up to `r_max`, numpy's order.
    """
    reach = weight.shape[0] // 2
    box = out.shape[1]
    last = min(r_max, (box - 1) // 2)
    for i in range(matrices.shape[0]):
        for kx in range(-last, last + 1):
            row = kx if kx >= 0 else kx + box
            for ky in range(last + 1):
                if kx * kx + ky * ky > r_max * r_max:
                    break
                px = os * (kx * matrices[i, 0, 0] + ky * matrices[i, 1, 0])
                py = os * (kx * matrices[i, 0, 1] + ky * matrices[i, 1, 1])
                pz = os * (kx * matrices[i, 0, 2] + ky * matrices[i, 1, 2])
                if py < 0.0:
                    px, py, pz = -px, -py, -pz
                x, y, z = int(math.floor(px)), int(math.floor(py)), int(math.floor(pz))
                fx, fy, fz = px - x, py - y, pz - z
                s = 0.0
                for a in range(2):
                    wa = fz if a else 1.0 - fz
                    for b in range(2):
                        wb = wa * (fx if b else 1.0 - fx)
                        for c in range(2):
                            s += wb * (fy if c else 1.0 - fy) * weight[z + a + reach, x + b + reach, y + c]
                out[i, row, ky] = 1.0 / max(s, least)
