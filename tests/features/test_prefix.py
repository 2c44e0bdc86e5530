# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
import small

from neucrab_jax import features
from neucrab_jax.features import compute as compute_lib
from neucrab_jax.features import extraction


@pytest.fixture(scope='module')
def backbone():
  return small.make_backbone()


@pytest.fixture
def extracted(monkeypatch):
  """How many examples each extraction was of."""
  counts = []
  extract = extraction.extract

  def counting(*args, indices, **options):
    counts.append(len(indices))
    return extract(*args, indices=indices, **options)

  monkeypatch.setattr(extraction, 'extract', counting)
  return counts


def test_what_grows_is_never_extracted_again(backbone, extracted, tmp_path):
  examples = small.make_examples(12)
  indices = np.array([0, 1, 2, 4, 5, 6, 7, 9, 10, 11])
  whole = features.whole(examples.labels[indices])
  told = []

  def compute(size):
    return compute_lib.compute(
      backbone,
      examples,
      indices=indices,
      task='t',
      batch_size=2,
      cache_dir=str(tmp_path),
      advance=told.append,
      part=dataclasses.replace(whole, size=size),
    )

  expected = extraction.extract(backbone, examples, indices=indices)
  extracted.clear()
  # Shorter than what is there, too; and after the whole.
  for size, new, cached in [
    (4, [4], False),
    (7, [3], False),
    (5, [], True),
    (10, [3], False),
    (6, [], True),
    (10, [], True),
  ]:
    found = compute(size)
    assert (extracted, found.cached) == (new, cached)
    assert sum(told) == size
    rows = np.sort(whole.order[:size])
    np.testing.assert_allclose(
      found.features.features, expected.features[rows], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(found.features.labels, expected.labels[rows])
    extracted.clear()
    told.clear()
  assert len([f for f in tmp_path.rglob('*') if f.is_file()]) == 1
