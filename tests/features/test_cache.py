# SPDX-License-Identifier: Apache-2.0
import dataclasses
import pathlib
import threading
import warnings

import numpy as np
import pytest
import small

from neucrab_jax import features, models, parallel
from neucrab_jax.features import cache, extraction

INDICES = np.arange(5)


@pytest.fixture(scope='module')
def backbone():
  return small.make_backbone()


@pytest.fixture(scope='module')
def examples():
  return small.make_examples(6)


def make_features(key, *, value=0.0, num_examples=5):
  return features.Features(
    features=np.full((num_examples, 3), value, np.float32),
    labels=np.arange(num_examples, dtype=np.int32) % 2,
    provenance={'key': key},
  )


def load_quietly(file, key):
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    return cache.load(file, key=key)


def change_spec(**changes):
  def change(backbone, examples, indices):
    spec = dataclasses.replace(backbone.checkpoint, **changes)
    return dataclasses.replace(backbone, checkpoint=spec), examples, indices

  return change


def change_weights(backbone, examples, indices):
  return dataclasses.replace(backbone, fingerprint='o'), examples, indices


def change_data(backbone, examples, indices):
  return backbone, dataclasses.replace(examples, fingerprint='o'), indices


def change_indices(backbone, examples, indices):
  return backbone, examples, indices + 1


def change_order(backbone, examples, indices):
  return backbone, examples, indices[::-1]


def drop_one(backbone, examples, indices):
  return backbone, examples, indices[:-1]


@pytest.mark.parametrize(
  'change',
  [
    change_weights,
    change_spec(architecture='resnet_v2_maxi'),
    change_spec(image_size=17),
    change_spec(value_range=(0.0, 1.0)),
    change_spec(value_range=(-1.0, 2.0)),
    change_spec(resize_method='bicubic'),
    change_data,
    change_indices,
    change_order,
    drop_one,
  ],
  ids=[
    'weights',
    'architecture',
    'size',
    'range',
    'upper end',
    'resize method',
    'data',
    'indices',
    'order',
    'fewer',
  ],
)
def test_the_key_changes_with_what_features_depend_on(
  backbone, examples, change
):
  before = cache.key(backbone, examples, indices=INDICES)
  changed, changed_examples, indices = change(backbone, examples, INDICES)
  assert cache.key(changed, changed_examples, indices=indices) != before


@pytest.mark.parametrize(
  'change',
  [
    change_spec(name='renamed'),
    change_spec(path='elsewhere.npz'),
    change_spec(group='another'),
    change_spec(value_range=[-1.0, 1.0]),
    lambda *given: (*given[:2], given[2].astype(np.int32)),
  ],
  ids=['name', 'path', 'group', 'list', 'int32'],
)
def test_the_key_stays_with_what_they_do_not_depend_on(
  backbone, examples, change
):
  before = cache.key(backbone, examples, indices=INDICES)
  changed, changed_examples, indices = change(backbone, examples, INDICES)
  assert cache.key(changed, changed_examples, indices=indices) == before


def test_the_key_changes_with_the_code(backbone, examples, monkeypatch):
  # Another process reads it anew.
  monkeypatch.setattr(cache, '_sources', cache._sources.__wrapped__)
  before = cache.key(backbone, examples, indices=INDICES)
  monkeypatch.setattr(models, '__file__', small.__file__)
  assert cache.key(backbone, examples, indices=INDICES) != before


def test_images_and_labels_are_in_the_data_s_fingerprint():
  fingerprints = {
    small.make_examples(6).fingerprint,
    small.make_examples(6, seed=1).fingerprint,
    small.make_examples(7).fingerprint,
  }
  assert len(fingerprints) == 3


def test_what_is_saved_is_found(tmp_path):
  file = cache.path(str(tmp_path), checkpoint='c', task='t', key='a' * 64)
  assert load_quietly(file, 'a' * 64) is None
  saved = make_features('a' * 64, value=1.5)
  cache.save(file, saved)
  assert load_quietly(file, 'a' * 64).fingerprint() == saved.fingerprint()


def test_a_file_is_named_after_checkpoint_task_and_key():
  file = cache.path('D', checkpoint='net', task='/data/my cats', key='ab' * 32)
  assert file == pathlib.Path('D', f'net-my_cats-{"ab" * 16}.npz')


@pytest.mark.parametrize(
  'task', ['a/../../b', 'imagenet_v2/top:3.0.0', '~', '']
)
def test_a_file_is_always_in_the_cache_s_folder(tmp_path, task):
  file = cache.path(str(tmp_path), checkpoint='../net', task=task, key='a' * 64)
  assert file.parent == tmp_path
  assert file.resolve().parent == tmp_path.resolve()


def damage_half(content):
  return content[: len(content) // 2]


def damage_bit(content):
  flipped = bytearray(content)
  flipped[len(content) // 3] ^= 8
  return bytes(flipped)


def damage_all(content):
  return bytes(len(content))


def damage_empty(content):
  return b''


@pytest.mark.parametrize(
  'damage', [damage_half, damage_bit, damage_all, damage_empty]
)
def test_a_damaged_file_is_made_again_with_a_warning(tmp_path, damage):
  file = tmp_path / 'f.npz'
  cache.save(file, make_features('k', num_examples=100))
  file.write_bytes(damage(file.read_bytes()))
  with pytest.warns(cache.CacheWarning, match=r'f\.npz.* made again'):
    assert cache.load(file, key='k') is None
  cache.save(file, make_features('k', value=2.0))
  assert load_quietly(file, 'k').features[0, 0] == 2


@pytest.mark.parametrize('provenance', [{'key': 'other'}, {}])
def test_a_file_of_another_key_is_made_again_with_a_warning(
  tmp_path, provenance
):
  file = tmp_path / 'f.npz'
  cache.save(
    file, dataclasses.replace(make_features('k'), provenance=provenance)
  )
  with pytest.warns(cache.CacheWarning, match='another key'):
    assert cache.load(file, key='k') is None


def test_a_file_that_cannot_be_read_is_made_again_with_a_warning(tmp_path):
  (tmp_path / 'f.npz').mkdir()
  with pytest.warns(cache.CacheWarning, match='made again'):
    assert cache.load(tmp_path / 'f.npz', key='k') is None


def test_all_processes_use_a_file_or_none_does(tmp_path, monkeypatch):
  cache.save(tmp_path / 'f.npz', make_features('k'))
  monkeypatch.setattr(parallel, 'all_agree', lambda flag: False)
  assert cache.load(tmp_path / 'f.npz', key='k') is None


def test_only_the_first_process_writes(tmp_path, monkeypatch):
  monkeypatch.setattr(parallel, 'is_primary', lambda: False)
  cache.save(tmp_path / 'f.npz', make_features('k'))
  assert not list(tmp_path.iterdir())


def test_writers_at_once_do_no_harm(tmp_path):
  file = tmp_path / 'f.npz'
  values = (1.0, 2.0, 3.0)
  barrier = threading.Barrier(len(values))
  errors = []

  def write_and_read(value):
    try:
      barrier.wait()
      for _ in range(20):
        cache.save(file, make_features('k', value=value, num_examples=500))
        found = load_quietly(file, 'k')
        assert found.features[0, 0] in values
        assert np.ptp(found.features) == 0
    except BaseException as error:
      errors.append(error)

  threads = [
    threading.Thread(target=write_and_read, args=(value,)) for value in values
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not errors
  assert [f.name for f in tmp_path.iterdir()] == ['f.npz']


def test_a_cached_result_is_what_extraction_gave(tmp_path, backbone, examples):
  key = cache.key(backbone, examples, indices=INDICES)
  found = extraction.extract(backbone, examples, indices=INDICES)
  file = cache.path(str(tmp_path), checkpoint='c', task='t', key=key)
  cache.save(file, dataclasses.replace(found, provenance={'key': key}))
  assert load_quietly(file, key).fingerprint() == found.fingerprint()


def test_the_default_folder_is_the_user_s_cache():
  assert 'neucrab_jax' in cache.cache_dir()
  assert cache.cache_dir('here') == 'here'
  assert pathlib.Path(cache.cache_dir()).is_absolute()
