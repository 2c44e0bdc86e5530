# SPDX-License-Identifier: Apache-2.0
import time
from concurrent import futures

import jax
import numpy as np
import pytest

from neucrab_jax import parallel


@pytest.mark.parametrize('processes', [1, 2, 3, 8])
@pytest.mark.parametrize('num_examples', [0, 1, 2, 7, 8, 9, 100])
def test_every_example_is_one_process_s_own(
  monkeypatch, num_examples, processes
):
  monkeypatch.setattr(jax, 'process_count', lambda: processes)
  seen = []
  for index in range(processes):
    monkeypatch.setattr(jax, 'process_index', lambda index=index: index)
    seen += range(num_examples)[parallel.process_slice(num_examples)]
  assert seen == list(range(num_examples))


@pytest.mark.parametrize('processes', [2, 3, 8])
@pytest.mark.parametrize('num_examples', [1, 7, 8, 100])
def test_no_process_has_more_than_its_share(
  monkeypatch, num_examples, processes
):
  monkeypatch.setattr(jax, 'process_count', lambda: processes)
  for index in range(processes):
    monkeypatch.setattr(jax, 'process_index', lambda index=index: index)
    mine = range(num_examples)[parallel.process_slice(num_examples)]
    assert len(mine) <= -(-num_examples // processes)


@pytest.mark.parametrize(
  ('size', 'multiple', 'expected'),
  [(0, 4, 0), (1, 4, 4), (4, 4, 4), (5, 4, 8), (7, 1, 7)],
)
def test_rounds_up(size, multiple, expected):
  assert parallel.round_up(size, multiple=multiple) == expected


@pytest.mark.parametrize('devices', [1, 2, 4])
@pytest.mark.parametrize('size', [1, 5, 8])
def test_unshard_undoes_shard(monkeypatch, size, devices):
  monkeypatch.setattr(jax, 'local_device_count', lambda: devices)
  batch = np.arange(1, 1 + size * 6, dtype=np.float32).reshape(size, 2, 3)
  sharded = parallel.shard(batch, batch_size=8)
  assert sharded.shape == (devices, 8 // devices, 2, 3)
  assert sharded.dtype == batch.dtype
  np.testing.assert_array_equal(sharded.reshape(8, 2, 3)[size:], 0)
  np.testing.assert_array_equal(parallel.unshard(sharded, size=size), batch)


def test_unshard_takes_trees_with_holes():
  batch = np.arange(6.0).reshape(1, 6)
  features, nothing = parallel.unshard((batch, None), size=4)
  np.testing.assert_array_equal(features, np.arange(4.0))
  assert nothing is None


@pytest.mark.parametrize('options', [{}, {'xla_embed_ir_in_executable': False}])
def test_runs_on_every_local_device(options):
  devices = jax.local_device_count()
  tree = {'w': np.arange(3.0), 'b': np.float32(2)}
  batch = np.arange(devices * 2 * 3, dtype=np.float32).reshape(-1, 3)
  traced = []

  def function(t, x):
    traced.append(x.shape)
    return x @ t['w'] + t['b']

  run = parallel.data_parallel(function, compiler_options=options)
  for images in (batch, batch, np.tile(batch, (2, 1))):
    out = run(
      parallel.replicate(tree), parallel.shard(images, batch_size=len(images))
    )
    np.testing.assert_allclose(
      parallel.unshard(out, size=len(images)), images @ tree['w'] + 2, rtol=1e-6
    )
  assert len(traced) == 2


def test_threads_compile_a_program_once():
  traced = []

  def function(w, x):
    traced.append(x.shape)
    time.sleep(0.1)  # For the other thread to come.
    return x * w

  run = parallel.data_parallel(function)
  batch = parallel.shard(np.ones((8, 3), np.float32), batch_size=8)
  with futures.ThreadPoolExecutor(2) as pool:
    found = list(pool.map(run, [np.float32(2), np.float32(3)], [batch, batch]))
  assert len(traced) == 1
  assert [float(np.max(out)) for out in found] == [2, 3]


def test_one_process_has_everything_and_agrees_with_itself():
  rows = np.arange(6.0).reshape(3, 2)
  np.testing.assert_array_equal(parallel.gather(rows, num_examples=3), rows)
  assert parallel.all_agree(True)
  assert not parallel.all_agree(False)
  assert parallel.is_primary()


def test_a_synchronous_step_is_the_function_of_the_whole_batch():
  devices = jax.devices()
  batch = np.arange(len(devices) * 6, dtype=np.float32).reshape(-1, 3)
  step = parallel.synchronous(lambda w, x: (w + x.sum(), x.var(axis=0)))
  total, variance = step(
    parallel.replicate(np.float32(1), devices=devices),
    parallel.spread(batch, axis=0, devices=devices),
  )
  assert total.is_fully_replicated
  np.testing.assert_allclose(total, 1 + batch.sum(), rtol=1e-6)
  np.testing.assert_allclose(variance, batch.var(axis=0), rtol=1e-6)


def test_a_synchronous_step_can_be_given_its_state():
  step = parallel.synchronous(lambda state: state + 1, donate=0)
  state = parallel.replicate(np.zeros(3, np.float32), devices=jax.devices())
  after = step(state)
  assert state.is_deleted()
  np.testing.assert_array_equal(after, np.ones(3))
