# SPDX-License-Identifier: Apache-2.0
"""What XLA's compiler is told of a network that runs on a CPU.

Results are those of the same arithmetic in another order. So with jaxlib 0.10,
for EfficientNets and MobileNets above all; `experiments.benchmarks.models` has
their times. What `XLA_FLAGS` says is left to the user.
"""

import functools
import os
from typing import Any

import jax

# As wide as the CPU has them, where XLA would take half of AVX-512.
_WIDE_VECTORS = ('xla_cpu_prefer_vector_width', 512)
# Products of matrices by Eigen: those between depthwise convolutions are small,
# and YNNPACK has one thread wait for the other.
_PRODUCTS_BY_EIGEN = (
  'xla_cpu_experimental_ynn_fusion_type',
  'LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION',
)

# The longest side of MobileNet's and EfficientNet's depthwise kernels. Longer
# ones, of ConvNeXt, are between large products, for which YNNPACK is as fast.
_LONGEST_SIDE = 5


def _is_depthwise(shape: tuple[int, ...]) -> bool:
  """Whether a kernel [h, w, C, D], or ONNX's [D, C, h, w], sees one channel."""
  if len(shape) != 4:
    return False
  first, second, third, fourth = shape
  if 1 < first == second <= _LONGEST_SIDE:
    return 1 in (third, fourth)
  return second == 1 and 1 < third == fourth <= _LONGEST_SIDE


@functools.cache
def _is_known(name: str, value: Any) -> bool:
  """Whether this jaxlib has the option, and its user has not set it."""
  if name in os.environ.get('XLA_FLAGS', ''):
    return False
  try:
    jax.jit(lambda: 0).lower().compile(compiler_options={name: value})
  except jax.errors.JaxRuntimeError:
    return False
  return True


def find(variables: Any) -> dict[str, Any]:
  """The options for a network, none where it doesn't run on a CPU.

  Args:
    variables: of the network.
  """
  if jax.default_backend() != 'cpu':
    return {}
  options: list[tuple[str, Any]] = [_WIDE_VECTORS]
  if any(_is_depthwise(leaf.shape) for leaf in jax.tree.leaves(variables)):
    options.append(_PRODUCTS_BY_EIGEN)
  return {name: value for name, value in options if _is_known(name, value)}
