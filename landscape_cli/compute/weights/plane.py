"""The affine plane through three points of weight space: its coordinates, and what lies how far off it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from landscape_cli.errors import UsageError

State = Mapping[str, Tensor]
Place = tuple[float, float]
Shares = tuple[float, float, float]

FLAT = 1e-5  # height of a triangle, as a share of its longest side, below which its corners lie on a line
ROUNDING = 2.0**-22  # height, as a share of the weights' norm, that rounding to single precision can make


@dataclass(frozen=True, eq=False)
class Plane:
    """All ``w = a·A + b·B + c·C`` with ``a + b + c = 1``, in coordinates (x, y) in which A is the origin.

    Through three networks the axes are orthonormal (Gram–Schmidt): ``e₁ = (B − A)/‖B − A‖``, ``e₂`` the rest of
    ``C − A``, so that distances on paper are distances between weights. Along two directions (Li et al. 2018) the axes
    are these directions, and x and y multiples of them.

    Args:
        anchors: The states A, B and C.
        names: The tensors that span it: the parameters that train.
        places: (x, y) of A, B and C; A's is (0, 0), and B lies on the first axis.
        metric: ``⟨axis_i, axis_j⟩``: (1, 0, 1) for orthonormal axes; else ``(⟨u,u⟩, ⟨u,v⟩, ⟨v,v⟩)``.
    """

    anchors: tuple[State, State, State]
    names: tuple[str, ...]
    places: tuple[Place, Place, Place]
    metric: tuple[float, float, float] = (1.0, 0.0, 1.0)

    def shares(self, x: float, y: float) -> Shares:
        """The barycentric coordinates (a, b, c) of a place: exactly (1, 0, 0), … at the anchors' own places."""
        (b, _), (c, height) = self.places[1:]
        of_c = y / height
        of_b = (x - of_c * c) / b
        return 1.0 - of_b - of_c, of_b, of_c

    def place(self, shares: Shares) -> Place:
        """The place of barycentric coordinates: the inverse of :meth:`shares`."""
        (b, _), (c, height) = self.places[1:]
        return shares[1] * b + shares[2] * c, shares[2] * height

    def length(self, x: float, y: float) -> float:
        """``‖x·axis₁ + y·axis₂‖`` in weight space."""
        first, mixed, second = self.metric
        return math.sqrt(max(0.0, x * x * first + 2 * x * y * mixed + y * y * second))

    def project(self, state: State) -> tuple[float, float, float]:
        """The foot (x, y) of the perpendicular from a network to the plane, and the distance off the plane.

        Sums run in float64; the distance is that of the network from its foot, summed directly, not by Pythagoras,
        which would cancel for networks near the plane. Cost: two passes over the weights of four networks.

        Args:
            state: The network's tensors, on the CPU as the anchors' are.
        """
        own = _gram(self.anchors, self.names, state)
        uu, uv, vv, ur, vr = own
        # Gram–Schmidt again: v is cleared of u before it is used, which squares no condition number.
        height = vv - uv * uv / uu
        of_c = (vr - ur * uv / uu) / height
        of_b = (ur - of_c * uv) / uu
        square = 0.0
        for name in self.names:
            a, b, c, w = (_flat(s[name]) for s in (*self.anchors, state))
            rest = w - a - of_b * (b - a) - of_c * (c - a)
            square += float(rest.dot(rest))
        return (*self.place((1 - of_b - of_c, of_b, of_c)), math.sqrt(square))


def through(
    first: State, second: State, third: State, names: Sequence[str], called: Sequence[str] = ("A", "B", "C")
) -> Plane:
    """The plane through three points, in orthonormal coordinates: A at (0, 0), B on the first axis, C above it.

    Args:
        first: A by tensor name, on the CPU.
        second: B.
        third: C.
        names: The tensors that count as weights; the others only come along.
        called: What to call the three in an error.

    Cost: two passes over the three, in float64.

    Raises:
        UsageError: If two of the three coincide, or all lie on one line.
    """
    anchors = (first, second, third)
    uu, uv, vv, _, _ = _gram(anchors, names, None)
    far = math.sqrt(max(0.0, uu + vv - 2 * uv))
    base, other = math.sqrt(uu), math.sqrt(vv)
    largest = max(base, other, far)
    for length, one, two in ((base, 0, 1), (other, 0, 2), (far, 1, 2)):
        if length <= FLAT * largest:
            raise UsageError(
                f"{called[one]} and {called[two]} are the same point of weight space: they span no plane",
                "give different networks, or one or two and --directions random",
            )
    along = uv / base
    # The height is summed directly: vv − along² would cancel.
    square = 0.0
    for name in names:
        a, b, c = (_flat(s[name]) for s in anchors)
        rest = (c - a) - (uv / uu) * (b - a)
        square += float(rest.dot(rest))
    height = math.sqrt(square)
    size = math.sqrt(sum(float(_flat(first[name]).square().sum()) for name in names))
    # The middle of two networks, saved in single precision, lies a rounding of its weights off the line.
    if height * base <= FLAT * largest**2 or height <= ROUNDING * size:
        raise UsageError(
            f"{', '.join(called[:2])} and {called[2]} lie on one line: they span no plane",
            "measure the line with 'landscape barrier', or give two of them and --directions random",
        )
    return Plane(anchors, tuple(names), ((0.0, 0.0), (base, 0.0), (along, height)))


def along_directions(
    origin: State, first: State, second: State, names: Sequence[str], *, units: tuple[float, float] | None = None
) -> Plane:
    """The plane ``w + x·u + y·v`` through a network (Li et al. 2018, Eq. 1).

    Args:
        origin: w by tensor name, on the CPU.
        first: The direction u, of the tensors ``names``; missing ones do not move.
        second: v.
        names: The tensors that count as weights.
        units: For orthonormal directions: the places of the anchors on the axes, far enough off that rounding them to
            the weights' own type does no harm. None: the anchors are w + u and w + v, and the metric is theirs.

    Cost: two passes over the weights.

    Raises:
        UsageError: If a direction is zero, or both are one.
    """
    x, y = units or (1.0, 1.0)
    anchors = (origin, moved(origin, first, x), moved(origin, second, y))
    uu, uv, vv, _, _ = _gram(anchors, names, None)
    if not uu > 0 or not vv > 0 or uu * vv - uv * uv <= FLAT**2 * uu * vv:
        raise UsageError("the two directions span no plane: one of them is zero, or they are the same")
    metric = (1.0, 0.0, 1.0) if units else (uu, uv, vv)
    return Plane(anchors, tuple(names), ((0.0, 0.0), (x, 0.0), (0.0, y)), metric)


def moved(state: State, direction: State, step: float = 1.0) -> dict[str, Tensor]:
    """``w + step·d``, at least in single precision; tensors without a direction stay what they are."""
    found = dict(state)
    for name, d in direction.items():
        exact = torch.promote_types(state[name].dtype, torch.float32)
        found[name] = (state[name].double() + step * d.double()).to(exact)
    return found


def extents(places: Sequence[Place], margin: float) -> tuple[Place, Place]:
    """The ranges of x and of y that hold all places, with ``margin`` of the larger range added on every side.

    >>> extents([(0.0, 0.0), (4.0, 0.0), (1.0, 2.0)], 0.25)
    ((-1.0, 5.0), (-1.0, 3.0))
    """
    ranges = [(min(values), max(values)) for values in zip(*places, strict=True)]
    room = margin * max(high - low for low, high in ranges)
    (left, right), (low, high) = ((low - room, high + room) for low, high in ranges)
    return (left, right), (low, high)


def _gram(anchors: Sequence[State], names: Sequence[str], state: State | None) -> tuple[float, ...]:
    """``⟨u,u⟩, ⟨u,v⟩, ⟨v,v⟩, ⟨u,r⟩, ⟨v,r⟩`` for u = B − A, v = C − A and r = w − A, in float64."""
    sums = [0.0] * 5
    for name in names:
        a, b, c = (_flat(anchor[name]) for anchor in anchors)
        u, v = b - a, c - a
        sums[0] += float(u.dot(u))
        sums[1] += float(u.dot(v))
        sums[2] += float(v.dot(v))
        if state is not None:
            r = _flat(state[name]) - a
            sums[3] += float(u.dot(r))
            sums[4] += float(v.dot(r))
    return tuple(sums)


def _flat(tensor: Tensor) -> Tensor:
    return tensor.detach().to(torch.float64).flatten()
