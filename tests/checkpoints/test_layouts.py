# SPDX-License-Identifier: Apache-2.0
import json
import pathlib

import jax
import pytest

from neucrab_jax.checkpoints import layouts

ARCHITECTURE = 'resnet_v1_mini'


def refuse(*args, **kwargs):
  raise AssertionError('A network was traced.')


@pytest.fixture
def find_anew(monkeypatch, tmp_path):
  """Finds a layout as another process does."""
  monkeypatch.setattr(layouts, '_file', lambda name: tmp_path / f'{name}.json')
  return lambda: layouts.find.__wrapped__(ARCHITECTURE)


def test_another_process_finds_what_was_traced(find_anew, monkeypatch):
  traced = find_anew()
  assert any('/' in part for scope, _ in traced.values() for part in scope)
  assert all('/'.join(scope) == name for name, (scope, _) in traced.items())
  monkeypatch.setattr(layouts, 'trace', refuse)
  found = find_anew()
  assert found == traced
  assert list(found) == list(traced)


def spoil(file, monkeypatch):
  content = json.loads(file.read_text())
  content['variables'][0][1][0] += 1
  file.write_text(json.dumps(content))


def change_code(file, monkeypatch):
  monkeypatch.setattr(layouts, '_sources', lambda: 'other code')


def update_jax(file, monkeypatch):
  monkeypatch.setattr(jax, '__version__', '99.0.0')


@pytest.mark.parametrize('change', [spoil, change_code, update_jax])
def test_what_may_be_of_another_network_is_not_believed(
  change, find_anew, monkeypatch, tmp_path
):
  traced = find_anew()
  change(tmp_path / f'{ARCHITECTURE}.json', monkeypatch)
  with monkeypatch.context() as patch:
    patch.setattr(layouts, 'trace', refuse)
    with pytest.raises(AssertionError, match='was traced'):
      find_anew()
  assert find_anew() == traced
  monkeypatch.setattr(layouts, 'trace', refuse)
  assert find_anew() == traced


@pytest.mark.parametrize('has_place', [True, False])
def test_where_nothing_can_be_kept_a_network_is_traced(
  has_place, find_anew, monkeypatch, tmp_path
):
  expected = find_anew()
  (tmp_path / 'file').write_text('no folder')
  place = tmp_path / 'file' / 'x.json' if has_place else None
  monkeypatch.setattr(layouts, '_file', lambda name: place)
  assert find_anew() == expected


@pytest.mark.parametrize('folder', [None, '', 'gs://bucket/programs', 'here'])
def test_layouts_are_kept_where_compiled_programs_are(folder):
  before = jax.config.values['jax_compilation_cache_dir']
  jax.config.update('jax_compilation_cache_dir', folder)
  try:
    file = layouts._file(ARCHITECTURE)
  finally:
    jax.config.update('jax_compilation_cache_dir', before)
  expected = pathlib.Path(f'here/variables/{ARCHITECTURE}.json')
  assert file == (expected if folder == 'here' else None)
