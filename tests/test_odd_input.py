# SPDX-License-Identifier: Apache-2.0
"""Odd files and names: a clear line for each, and the others go on."""

import json
import os
import warnings
import zipfile

import filelock
import ml_dtypes
import numpy as np
import pytest

from neucrab_jax import checkpoints, input_files, measures, storage
from neucrab_jax.features import cache
from neucrab_jax.finetuning import known_accuracies
from tests.ranking import ranked
from tests.ranking.ranked import rewrite


def _with_provenance(file, text):
  rewrite(file, provenance=np.array(text))


def _add_member(file, name, content=b''):
  with (
    warnings.catch_warnings(action='ignore'),
    zipfile.ZipFile(file, 'a') as archive,
  ):
    archive.writestr(name, content)


def _with_header(file, header):
  file.unlink()
  size = len(header).to_bytes(2, 'little')
  _add_member(file, 'features.npy', b'\x93NUMPY\x01\x00' + size + header)


BAD_FEATURES = {
  'bfloat16': (
    lambda f: rewrite(f, features=np.ones((60, 4), ml_dtypes.bfloat16)),
    'Save bfloat16 as float32',
  ),
  'maps': (
    lambda f: rewrite(f, features=np.ones((60, 4, 4, 2))),
    'x.mean(axis=(1, 2))',
  ),
  'nested': (
    lambda f: _with_provenance(f, '[' * 5000 + ']' * 5000),
    'provenance is no JSON object',
  ),
  'list': (lambda f: _with_provenance(f, '[1]'), 'no JSON object'),
  'text': (lambda f: f.write_text('features'), 'not a readable .npz'),
  'empty': (lambda f: f.write_bytes(b''), 'not a readable .npz'),
  'endless number': (
    lambda f: _with_provenance(f, '{"a": ' + '9' * 5000 + '}'),
    'no JSON object',
  ),
  'header of no end': (
    lambda f: _with_header(f, b'{"shape": ('),
    'not a readable .npz',
  ),
  'twice': (lambda f: _add_member(f, 'labels.npy'), 'two arrays of one name'),
  'folder': (lambda f: (f.unlink(), f.mkdir()), 'it is a folder'),
}


@pytest.mark.parametrize('bad', BAD_FEATURES)
def test_a_bad_file_of_features_fails_alone(bad, tmp_path):
  folder = ranked.make_files(tmp_path / 'flowers')
  spoil, message = BAD_FEATURES[bad]
  spoil(folder / 'a.npz')
  config = ranked.files_config(folder, 'class_separation')
  result = ranked.rank(config, str(tmp_path / 'run'))
  assert list(ranked.scores_of(result)) == ['c', 'b']
  (failed,) = result['failed']
  assert failed['checkpoint'] == 'a'
  assert message in failed['error']


BAD_TABLES = {
  'latin-1': ('checkpoint,m\né,1\n'.encode('latin-1'), 'no text in UTF-8'),
  'utf-16': ('checkpoint,m\na,1\n'.encode('utf-16'), 'no text in UTF-8'),
  'semicolons': (b'checkpoint;m\na;1\n', 'separated by commas'),
  'header alone': (b'checkpoint,m\n', 'a header and no rows'),
  'empty': (b'', 'its columns are none'),
  'tabs': (b'checkpoint\tm\na\t1\n', 'commas, not tabs'),
  'capitals': (b'Checkpoint,m\na,1\n', 'must name the columns'),
  'two of a name': (b'checkpoint,m,m\na,1,2\n', "two columns 'm'"),
  'a cell less': (b'checkpoint,m\na\n', 'line 2: there are fewer cells'),
  'a cell more': (b'checkpoint,m\na,1,2\n', 'line 2: there are more cells'),
  'no name': (b'checkpoint,m\n ,1\n', 'line 2: there is no name'),
  'long cell': (b'checkpoint,m\na,' + b'1' * 140_000, 'is no CSV'),
}


@pytest.mark.parametrize('bad', BAD_TABLES)
def test_a_bad_table_is_one_line_with_its_name(bad, tmp_path):
  content, message = BAD_TABLES[bad]
  file = tmp_path / 'table.csv'
  file.write_bytes(content)
  with pytest.raises(ValueError, match=message) as error:
    list(input_files.rows(file))
  assert 'table.csv' in str(error.value)


def test_blanks_around_cells_of_a_table_are_no_part_of_them(tmp_path):
  (tmp_path / 'table.csv').write_text('checkpoint, m\na , 1\n')
  ((_, row),) = input_files.rows(tmp_path / 'table.csv')
  assert row == {'checkpoint': 'a', 'm': '1'}


def test_accuracies_of_empty_cells_are_none(tmp_path):
  (tmp_path / 'table.csv').write_text('checkpoint,accuracy\na,\nb,nan\n')
  with pytest.raises(ValueError, match=r'no accuracy in .*table.csv'):
    known_accuracies.read_all(str(tmp_path / 'table.csv'))


@pytest.mark.parametrize('name', ['vit_base_patch16_224', 'timm/resnet50'])
def test_a_foreign_name_says_what_can_be_done(name):
  with pytest.raises(ValueError, match='extract its features there') as error:
    checkpoints.select(name)
  assert 'Did you mean' not in str(error.value)


@pytest.mark.parametrize(
  ('name', 'message'),
  [
    ('my.pt', 'Convert them where PyTorch is'),
    ('x.ckpt', 'or export the network as ONNX'),
    ('net.keras', 'No file matches'),
    ('net.tflite', 'extract its features there'),
    ('x/model.safetensors', 'No file matches'),
  ],
)
def test_a_foreign_file_says_what_can_be_done(name, message):
  with pytest.raises(ValueError, match=message):
    checkpoints.select(name)


def test_a_pipe_is_no_record_and_no_table(tmp_path):
  pipe = tmp_path / 'pipe'
  os.mkfifo(pipe)
  with pytest.raises(ValueError, match='no CSV: it is a pipe'):
    list(input_files.rows(pipe))
  with pytest.raises(storage.DamagedFileError, match='it is a pipe'):
    storage.read_json(pipe, dict)


def test_names_may_be_as_long_as_a_file_system_takes(tmp_path):
  name = 'x' * 250
  folder = ranked.make_files(tmp_path / 'flowers', names=('a', name))
  config = ranked.files_config(folder / '*.npz', 'class_separation')
  first = ranked.rank(config, str(tmp_path / 'run'))
  assert set(ranked.scores_of(first)) == {'a', name}
  second = ranked.rank(config, str(tmp_path / 'run'))
  assert ranked.scores_of(first) == ranked.scores_of(second)
  assert storage.file_name('y' * 250) != storage.file_name('y' * 249 + 'z')
  assert len(storage.file_name('τ' * 200).encode()) <= 240
  path = cache.path('c', checkpoint=name, task='t', key='0' * 64)
  assert len(path.name) < 255


def test_a_full_disk_costs_the_cache_and_not_the_features(
  tmp_path, monkeypatch
):
  from configs import measure as measure_config

  def full(*unused):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(cache, 'save', full)
  config = measure_config.get_config('class_separation')
  config.checkpoints = 'mini_random'
  config.task.num_examples = 50
  config.cache_dir = str(tmp_path / 'cache')
  result = ranked.rank(config, str(tmp_path / 'run'))
  (entry,) = result['ranking']
  assert 'No space left on device' in ' '.join(entry['warnings'])
  assert json.loads((tmp_path / 'run' / 'ranking.json').read_text()) == result


def test_what_is_to_be_said_of_weights_is_in_the_result(tmp_path, monkeypatch):
  from configs import measure as measure_config

  monkeypatch.setattr(checkpoints, 'notes', lambda _: ('Raw weights.',))
  config = measure_config.get_config('class_separation')
  config.checkpoints = 'mini_random'
  config.task.num_examples = 50
  config.cache_dir = str(tmp_path / 'cache')
  (entry,) = ranked.rank(config, str(tmp_path / 'run'))['ranking']
  assert 'Raw weights.' in entry['warnings']


def test_where_there_are_no_locks_a_run_goes_on(tmp_path, monkeypatch):
  def refuse(*unused, **options):
    raise OSError(38, 'Function not implemented')

  monkeypatch.setattr(filelock.FileLock, 'acquire', refuse)
  with storage.claim(tmp_path / 'record.json') as mine:
    assert mine


def test_a_weight_that_is_no_f32_is_refused(tmp_path):
  spec = checkpoints.get('mini_random')
  arrays = storage.read_npz(spec.path)
  name = next(iter(arrays))
  arrays[name] = np.full(arrays[name].shape, 1e300)
  storage.write_npz(tmp_path / 'big.npz', arrays)
  with pytest.raises(ValueError, match='NaN or Inf'):
    checkpoints.restore('mini_random', tmp_path / 'big.npz')


@pytest.mark.parametrize('seed', [-1, 1 << 32, 1 << 63, 1.5, True])
def test_a_seed_is_of_32_bits(seed):
  with pytest.raises(ValueError, match='A seed must be a whole number'):
    measures.check_seed(seed)
