# SPDX-License-Identifier: Apache-2.0
"""Activations with timm's names."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from neucrab_jax.models.pytorch import activations


def test_relu_and_its_gradient_are_those_of_flax():
  x = jnp.array([-np.inf, -1.5, -0.0, 0.0, 1e-30, 2.5, np.inf, np.nan])
  np.testing.assert_array_equal(activations.relu(x), nn.relu(x))
  ours, theirs = (jax.vmap(jax.grad(f))(x) for f in (activations.relu, nn.relu))
  np.testing.assert_array_equal(ours[:-1], theirs[:-1])
