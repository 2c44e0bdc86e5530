# SPDX-License-Identifier: Apache-2.0
import types

import pytest

from neucrab_jax import checkpoints
from neucrab_jax.ranking import ahead

CHECKPOINT = checkpoints.get('mini_vae')


@pytest.mark.parametrize(
  ('num_bytes', 'again'), [(1 << 20, 0), (1 << 30, 1)], ids=['small', 'large']
)
def test_what_was_begun_is_restored_once(monkeypatch, num_bytes, again):
  names = []

  def restore(checkpoint):
    names.append(checkpoint.name)
    return types.SimpleNamespace(num_bytes=num_bytes)

  monkeypatch.setattr(checkpoints, 'restore', restore)
  restorer = ahead.Restorer()
  restorer.start(CHECKPOINT)
  restorer.start(CHECKPOINT)
  first = restorer.take(CHECKPOINT)
  assert names == [CHECKPOINT.name]
  # A small one is kept.
  restorer.start(CHECKPOINT)
  second = restorer.take(CHECKPOINT)
  assert len(names) == 1 + again
  assert (second is first) == (not again)


def test_no_more_than_two_are_begun(monkeypatch):
  names = []

  def restore(checkpoint):
    names.append(checkpoint.name)
    return types.SimpleNamespace(num_bytes=1 << 30)

  monkeypatch.setattr(checkpoints, 'restore', restore)
  restorer = ahead.Restorer()
  chosen = checkpoints.select('mini_vae, mini_random, mini_sup_glyphs')
  for checkpoint in chosen:
    restorer.start(checkpoint)
  restorer.take(chosen[1])
  assert names == ['mini_vae', 'mini_random']
  restorer.start(chosen[2])
  restorer.take(chosen[2])
  assert names == ['mini_vae', 'mini_random', 'mini_sup_glyphs']


def test_what_fails_ahead_fails_whoever_takes_it(monkeypatch):
  def fail(checkpoint):
    raise ValueError(f'{checkpoint.name} is a sandwich.')

  monkeypatch.setattr(checkpoints, 'restore', fail)
  restorer = ahead.Restorer()
  restorer.start(CHECKPOINT)
  with pytest.raises(ValueError, match='mini_vae is a sandwich'):
    restorer.take(CHECKPOINT)
