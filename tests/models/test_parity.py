# SPDX-License-Identifier: Apache-2.0
"""Every network against what the original graph gives, at each of its sizes."""

import pytest

from neucrab_jax import models
from tests.models import parity

ORIGINALS = sorted(f.stem for f in parity.FOLDER.glob('*.npz'))

# An even and an odd size of each, its own and another: paddings differ. Both in
# a row, for the weights are drawn once.
CASES = [
  (architecture, size)
  for architecture in ORIGINALS
  for size in {
    size % 2: size for size in parity.sizes(architecture)[::-1]
  }.values()
]


def test_every_original_is_there():
  assert set(ORIGINALS) <= set(models.names())


@pytest.mark.parametrize(('architecture', 'size'), CASES)
def test_computes_what_the_original_does(architecture, size):
  parity.check(architecture, size)
