# SPDX-License-Identifier: Apache-2.0
"""Every network against what the original graph gives, at each of its sizes."""

import pytest

from neucrab_jax import models
from tests.models import parity

ORIGINALS = sorted(f.stem for f in parity.FOLDER.glob('*.npz'))

# What is as another is but for its depth or width.
LIKE = {
  'mobilenet_v1_025': 'mobilenet_v1',
  'mobilenet_v2_035': 'mobilenet_v2',
  'resnet_v1_101': 'resnet_v1_50',
}

# An even and an odd size of each, its own and another, for paddings differ; its
# own alone of what is like another. Both in a row: the weights are drawn once.
CASES = [
  (architecture, size)
  for architecture in ORIGINALS
  for size in list(
    {size % 2: size for size in parity.sizes(architecture)[::-1]}.values()
  )[-1 if architecture in LIKE else 0 :]
]


def test_every_original_is_there():
  assert set(ORIGINALS) <= set(models.names())


@pytest.mark.parametrize(('architecture', 'size'), CASES)
def test_computes_what_the_original_does(architecture, size):
  parity.check(architecture, size)
