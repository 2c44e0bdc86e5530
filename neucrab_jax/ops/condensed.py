# SPDX-License-Identifier: Apache-2.0
"""Sums over a spectrum, by a few values that stand for all.

Axes: K values, M that stand for them.
"""

import numpy as np
from jaxtyping import Float
from numpy.polynomial import chebyshev

# Of an interpolated function, as a share of its largest value.
_ERROR = 1e-11


def condense(
  values: Float[np.ndarray, 'K'],
) -> tuple[Float[np.ndarray, 'M'], Float[np.ndarray, 'K M']]:
  """A few values that stand for many where functions of them are summed.

      Σ_k w_k f(s_k) ≈ Σ_m (Σ_k w_k a_km) f(s'_m)

  by the polynomial in log s through Chebyshev's nodes s'. For any f that is as
  smooth as s / (s + t) and log (s + t) are at any t > 0: without a pole nearer
  than π to the axis of log s, so that it hangs on the spectrum's span alone how
  many nodes there have to be.

  >>> values = np.linspace(1.0, 9.0, 1000)
  >>> nodes, shares = condense(values)
  >>> len(nodes)
  15
  >>> bool(np.isclose(shares.sum(0) @ (1 / nodes), np.sum(1 / values)))
  True

  Args:
    values: [K], positive.

  Returns:
    s' [M], and a [K, M]; where that would not be fewer, the values themselves.

  Reference:
    Trefethen, "Approximation Theory and Approximation Practice", theorem 8.2.
  """
  logs = np.log(values)
  low, high = (logs.min(), logs.max()) if len(logs) else (0.0, 0.0)
  half = max((high - low) / 2, np.finfo(float).eps)
  # The largest ellipse about [−1, 1] that the poles are not in.
  growth = (np.pi + np.hypot(np.pi, half)) / half
  size = int(np.ceil(-np.log(_ERROR) / np.log(growth)))
  if size >= len(values):
    return values, np.eye(len(values))
  nodes = chebyshev.chebpts1(size)
  scale = np.full(size, 2 / size)
  scale[0] /= 2
  middle = (low + high) / 2
  at_values = chebyshev.chebvander((logs - middle) / half, size - 1)
  at_nodes = chebyshev.chebvander(nodes, size - 1)
  return np.exp(middle + half * nodes), at_values @ (scale * at_nodes).T
