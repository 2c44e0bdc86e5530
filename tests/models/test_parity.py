# SPDX-License-Identifier: Apache-2.0
"""Every network against what the original graph gives, at each of its sizes."""

import pytest

from neucrab_jax import models
from tests.models import parity

ORIGINALS = sorted(f.stem for f in parity.FOLDER.glob('*.npz'))

# All sizes of an architecture in a row: its weights are drawn once.
CASES = [
  (architecture, size)
  for architecture in ORIGINALS
  for size in parity.sizes(architecture)
]


def test_every_original_is_there():
  assert set(ORIGINALS) <= set(models.names())


@pytest.mark.parametrize(('architecture', 'size'), CASES)
def test_computes_what_the_original_does(architecture, size):
  parity.check(architecture, size)
