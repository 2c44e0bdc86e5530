# SPDX-License-Identifier: Apache-2.0
"""Networks in bfloat16: their products are, and what is between them is not."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from neucrab_jax import checkpoints
from neucrab_jax.models import depthwise, precision

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2, 6, 6, 4)).astype(np.float32)
MATRIX = RNG.standard_normal((4, 4)).astype(np.float32)
KERNEL = RNG.standard_normal((3, 3, 4, 4)).astype(np.float32)


def _rounded(x):
  return np.asarray(x).astype(ml_dtypes.bfloat16).astype(np.float64)


def test_a_product_is_that_of_rounded_numbers():
  found = precision.in_bfloat16(jnp.matmul)(X, MATRIX)
  assert found.dtype == jnp.float32
  exact = _rounded(X) @ _rounded(MATRIX)
  np.testing.assert_allclose(found, exact, atol=2**-8 * np.abs(exact).max())
  np.testing.assert_array_equal(found, _rounded(found))


def test_what_is_no_product_stays_exact():
  found = precision.in_bfloat16(lambda x: nn.softmax(x * 3.7 + 1))(X)
  np.testing.assert_allclose(found, nn.softmax(X * 3.7 + 1), rtol=1e-6)


def _conv(x, kernel):
  return jax.lax.conv_general_dilated(
    x, kernel, (1, 1), 'SAME', dimension_numbers=('NHWC', 'HWIO', 'NHWC')
  )


def _nested(x):
  inner = jax.jit(jax.checkpoint(lambda x: jax.nn.silu(_conv(x, KERNEL))))
  return {'a': inner(x), 'b': [jnp.sum(inner(x), axis=(1, 2))]}


def _grouped(x):
  return depthwise.depthwise_conv(x, KERNEL[..., :1])


@pytest.mark.parametrize('function', [_nested, _grouped])
def test_products_are_found_within_calls_and_branches(function):
  narrow = precision.in_bfloat16(function)
  found, wanted = jax.jit(narrow)(X), function(X)
  assert jax.tree.structure(found) == jax.tree.structure(wanted)
  for one, other in zip(
    jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True
  ):
    np.testing.assert_allclose(
      one, other, atol=0.02 * np.abs(np.asarray(other)).max()
    )
  # What other machines would run.
  exported = jax.export.export(jax.jit(narrow), platforms=['tpu', 'cuda'])
  program = exported(jnp.asarray(X)).mlir_module()
  lines = [line for line in program.splitlines() if '.convolution' in line]
  assert lines
  assert all('bf16' in line for line in lines)


def test_a_loop_runs_as_it_is():
  def looped(x):
    return jax.lax.fori_loop(0, 3, lambda _, y: jnp.tanh(y @ MATRIX), x)

  np.testing.assert_allclose(
    precision.in_bfloat16(looped)(X), looped(X), rtol=1e-6
  )


def test_a_network_in_bfloat16_is_nearly_the_same():
  (spec,) = checkpoints.select('mini_sup_glyphs', dtype='bfloat16')
  narrow = checkpoints.restore(spec)
  exact = checkpoints.restore('mini_sup_glyphs')
  size = spec.image_size
  images = RNG.uniform(-1, 1, (3, size, size, 3)).astype(np.float32)
  found, wanted = narrow(images), exact(images)
  assert found.features.dtype == found.logits.dtype == jnp.float32
  error = np.linalg.norm(found.features - wanted.features)
  assert 1e-4 < error / np.linalg.norm(wanted.features) < 2e-2


def test_an_unknown_precision():
  with pytest.raises(ValueError, match="Did you mean 'bfloat16'"):
    checkpoints.select('mini_vae', dtype='bfloat')
