# SPDX-License-Identifier: Apache-2.0
"""Checks the shapes that signatures name, in every test."""

import jaxtyping
import pytest

# Before anything of the package is imported.
jaxtyping.install_import_hook(
  ['neucrab_jax.ops', 'neucrab_jax.measures', 'neucrab_jax.models'],
  'shape_checks.typechecker',
)


@pytest.fixture
def unchecked_shapes():
  """Lets through what a signature refuses, to see what the function says."""
  jaxtyping.config.update('jaxtyping_disable', True)
  yield
  jaxtyping.config.update('jaxtyping_disable', False)
