# SPDX-License-Identifier: Apache-2.0
"""References to the hub: the real client, against a hub on this machine."""

import json
import os
import pathlib
import sys

import pytest
from safetensors import numpy as safetensors

from neucrab_jax import checkpoints, download
from tests.checkpoints import hub_server
from tests.checkpoints import tiny_torch as tiny

_NAME = hub_server.NAME
_COMMIT = hub_server.commit(_NAME)
_WEIGHTS = 'model.safetensors'


def _blob(tmp_path, name=_WEIGHTS):
  (link,) = (tmp_path / 'home').glob(f'hub/models--*/snapshots/*/{name}')
  return link.resolve()


def test_a_repository_is_restored_as_its_folder_is(hub, folder, tmp_path):
  backbone = checkpoints.restore(f'hf:{_NAME}')
  assert backbone.fingerprint == checkpoints.restore(str(folder)).fingerprint
  assert backbone.checkpoint.name == 'resnet50.a1_in1k'
  assert backbone.checkpoint.path == f'hf:{_NAME}@{_COMMIT}'
  assert backbone.checkpoint.image_size == 16
  source = backbone.source
  assert source is not None
  assert (source.repository, source.revision) == (_NAME, _COMMIT)
  assert set(source.files) == {'config.json', _WEIGHTS}
  assert source.files[_WEIGHTS] == hub.repositories[_NAME].digest(_WEIGHTS)
  # What is there is not downloaded again.
  before = len(hub.requested)
  checkpoints.restore(backbone.checkpoint)
  assert len(hub.requested) == before


def test_nothing_but_configs_and_safetensors_is_downloaded(hub):
  files = hub.repositories[_NAME].files
  files |= {'pytorch_model.bin': b'pickle', 'modeling.py': b'raise SystemExit'}
  files['preprocessor_config.json'] = b'{}'
  checkpoints.restore(f'hf:{_NAME}')
  assert {pathlib.PurePath(path).name for path in hub.paths()} == {
    'config.json',
    'preprocessor_config.json',
    _WEIGHTS,
  }


def test_choosing_downloads_no_weights(hub):
  (found,) = checkpoints.select(f'hf:{_NAME}')
  assert found.name == 'resnet50.a1_in1k'
  assert [pathlib.PurePath(p).name for p in hub.paths()] == ['config.json']


def test_weights_in_several_files(hub, folder):
  stored, files = tiny.vit(), hub.repositories[_NAME].files
  parts = {name: f'part-{i % 2}.safetensors' for i, name in enumerate(stored)}
  del files[_WEIGHTS]
  for part in set(parts.values()):
    files[part] = safetensors.save(
      {name: value for name, value in stored.items() if parts[name] == part}
    )
  index = {'metadata': {}, 'weight_map': parts}
  files[f'{_WEIGHTS}.index.json'] = json.dumps(index).encode()
  backbone = checkpoints.restore(f'hf:{_NAME}')
  assert backbone.fingerprint == checkpoints.restore(str(folder)).fingerprint
  assert len(backbone.source.files) == 4


def test_an_index_cannot_name_what_is_elsewhere(hub):
  files = hub.repositories[_NAME].files
  index = {'weight_map': {'a': '../../x.safetensors'}}
  files[f'{_WEIGHTS}.index.json'] = json.dumps(index).encode()
  del files[_WEIGHTS]
  with pytest.raises(ValueError, match='not a file beside it'):
    checkpoints.restore(f'hf:{_NAME}')


def test_a_download_that_was_cut_goes_on_where_it_was(hub, monkeypatch):
  from huggingface_hub import constants

  # What it keeps at a time: what has come of a piece goes with the connection.
  monkeypatch.setattr(constants, 'DOWNLOAD_CHUNK_SIZE', 1000)
  hub.cuts = [1000, 5000]
  checkpoints.restore(f'hf:{_NAME}')
  asked = [
    asked
    for method, path, asked in hub.requested
    if method == 'GET' and path.endswith(_WEIGHTS)
  ]
  assert asked == [None, 'bytes=1000-', 'bytes=6000-']


def test_a_download_that_never_ends_is_one_line(hub):
  hub.cuts = [0] * 30
  with pytest.raises(ConnectionError, match='did not come whole') as caught:
    checkpoints.restore(f'hf:{_NAME}')
  assert '\n' not in str(caught.value)
  hub.cuts = []
  checkpoints.restore(f'hf:{_NAME}')


@pytest.mark.parametrize('name', [_WEIGHTS, 'config.json'])
def test_a_wrong_digest_is_refused_and_not_kept(name, hub):
  repository = hub.repositories[_NAME]
  wrong = 'ab' * (32 if name == _WEIGHTS else 20)
  repository.digests[name] = wrong
  with pytest.raises(ValueError, match=f'not {wrong}'):
    checkpoints.restore(f'hf:{_NAME}')
  repository.digests.clear()
  checkpoints.restore(f'hf:{_NAME}')


def test_a_file_that_is_damaged_in_the_cache_is_downloaded_again(
  hub, client, tmp_path
):
  reference = f'hf:{_NAME}@{_COMMIT}'
  whole = checkpoints.restore(reference)
  raw = bytearray(_blob(tmp_path).read_bytes())
  raw[-5] ^= 1
  _blob(tmp_path).write_bytes(raw)
  client(HF_HUB_OFFLINE='1')
  with pytest.raises(ValueError, match=r'is damaged.*HF_HUB_OFFLINE'):
    checkpoints.restore(reference)
  client(HF_HUB_OFFLINE='0')
  assert checkpoints.restore(reference).fingerprint == whole.fingerprint


@pytest.mark.parametrize('revision', ['', '@main', f'@{_COMMIT}'])
def test_offline_the_cache_has_to_do(revision, hub, client):
  online = checkpoints.restore(f'hf:{_NAME}')
  client(HF_HUB_OFFLINE='1')
  before = len(hub.requested)
  assert checkpoints.select('hf:timm/*')[0].name == 'resnet50.a1_in1k'
  offline = checkpoints.restore(f'hf:{_NAME}{revision}')
  assert offline.fingerprint == online.fingerprint
  assert offline.source == online.source
  assert len(hub.requested) == before


def test_without_a_network_the_cache_has_to_do(hub, client):
  reference = f'hf:{_NAME}'
  online = checkpoints.restore(reference)
  client(HF_ENDPOINT='http://127.0.0.1:9')
  assert checkpoints.restore(reference).source == online.source


def test_offline_what_is_not_in_the_cache_is_said(hub, client):
  client(HF_HUB_OFFLINE='1')
  with pytest.raises(OSError, match=r'not in the cache.*HF_HUB_OFFLINE is set'):
    checkpoints.select(f'hf:{_NAME}')
  with pytest.raises(OSError, match='No repository matches'):
    checkpoints.select('hf:timm/*')


@pytest.mark.parametrize(
  ('environment', 'message'),
  [
    ({'HF_HUB_OFFLINE': '1'}, 'is not in the cache.*HF_HUB_OFFLINE is set'),
    ({'HF_ENDPOINT': 'http://127.0.0.1:9'}, 'cannot be reached'),
  ],
)
def test_what_was_chosen_and_not_downloaded_is_said(
  environment, message, hub, client
):
  (chosen,) = checkpoints.select(f'hf:{_NAME}')
  client(**environment)
  with pytest.raises(OSError, match=message):
    checkpoints.restore(chosen)


def test_a_cache_that_cannot_be_written_is_said(hub, client, tmp_path):
  (tmp_path / 'file').touch()
  client(HF_HOME=str(tmp_path / 'file' / 'home'))
  with pytest.raises(OSError, match=r'cannot be kept in.*HF_HOME names'):
    checkpoints.restore(f'hf:{_NAME}')


def test_without_a_list_of_files_the_message_is_shorter(hub, monkeypatch):
  import huggingface_hub

  files = hub.repositories[_NAME].files
  files['pytorch_model.bin'] = files.pop(_WEIGHTS)

  def refuse(*unused, **options):
    raise ConnectionError

  monkeypatch.setattr(huggingface_hub.HfApi, 'model_info', refuse)
  with pytest.raises(FileNotFoundError, match=r'has no model.safetensors'):
    checkpoints.restore(f'hf:{_NAME}')


def test_without_a_network_what_is_not_in_the_cache_is_said(client):
  client(HF_ENDPOINT='http://127.0.0.1:9')
  with pytest.raises(ConnectionError, match=r'127.0.0.1:9 cannot be reached'):
    checkpoints.select(f'hf:{_NAME}')
  with pytest.raises(ConnectionError, match=r'cannot be listed.*cannot be'):
    checkpoints.select('hf:timm/*')


def _without_config(repository):
  del repository.files['config.json']


@pytest.mark.parametrize(
  ('reference', 'change', 'kind', 'message'),
  [
    ('hf:timm/typo', None, FileNotFoundError, "There is no 'hf:timm/typo'"),
    ('hf:', None, ValueError, 'Write hf:OWNER/NAME'),
    ('hf:a/b/c', None, ValueError, 'Write hf:OWNER/NAME'),
    ('hf://timm/x', None, ValueError, 'Write hf:OWNER/NAME'),
    ('hf:timm/x@', None, ValueError, 'OWNER/NAME@REVISION'),
    ('hf:*/x', None, ValueError, 'of any owner'),
    ('hf:timm/vit*', None, FileNotFoundError, 'No repository matches'),
    (f'hf:{_NAME}@v9', None, FileNotFoundError, "has no revision 'v9'"),
    (f'hf:{_NAME}', _without_config, FileNotFoundError, 'has no config.json'),
    (
      f'hf:{_NAME}',
      lambda r: setattr(r, 'token', 'secret'),
      PermissionError,
      'is private, or not there.*HF_TOKEN',
    ),
    (
      f'hf:{_NAME}',
      lambda r: setattr(r, 'status', 403),
      PermissionError,
      'is gated. Ask for access at http',
    ),
    (
      f'hf:{_NAME}',
      lambda r: setattr(r, 'status', 500),
      ConnectionError,
      'answered 500',
    ),
  ],
)
def test_what_cannot_be_had_is_one_line(reference, change, kind, message, hub):
  if change:
    change(hub.repositories[_NAME])
  with pytest.raises(kind, match=message) as caught:
    checkpoints.select(reference)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  ('others', 'message'),
  [
    ({}, 'has no model.safetensors'),
    ({'pytorch_model.bin': b''}, r'pytorch_model.bin.* never opened.*Convert'),
  ],
)
def test_a_repository_without_safetensors_is_refused(others, message, hub):
  files = hub.repositories[_NAME].files
  del files[_WEIGHTS]
  files |= others
  with pytest.raises((ValueError, OSError), match=message):
    checkpoints.restore(f'hf:{_NAME}')
  assert not any(path.endswith('.bin') for path in hub.paths())


def test_a_token_opens_what_is_private(hub, client):
  hub.repositories[_NAME].token = 'secret'
  client(HF_TOKEN='secret')
  assert checkpoints.restore(f'hf:{_NAME}').source is not None


def test_patterns_revisions_and_names(hub, folder):
  for name in ('timm/resnet18', 'timm/vit', 'mine/resnet18'):
    hub.add(name, folder)
  gated = hub.repositories['timm/resnet18']
  gated.status = 403
  old = hub_server.commit('old')
  hub.repositories['timm/vit'].revisions |= {'v1': old, old: old}
  found = checkpoints.select(
    f'hf:timm/resnet*,mini_vae,{folder},hf:mine/resnet18,hf:timm/vit@v1,'
    f'hf:timm/vit,hf:timm/vit@{old}'
  )
  assert [each.name for each in found] == [
    'timm-resnet18',
    'resnet50.a1_in1k',
    'mini_vae',
    folder.name,
    'mine-resnet18',
    f'timm-vit@{old[:8]}',
    f'timm-vit@{hub_server.commit("timm/vit")[:8]}',
  ]
  with pytest.raises(PermissionError, match='gated'):
    checkpoints.restore(found[0])


def test_what_is_wrong_within_names_the_reference(hub):
  files = hub.repositories[_NAME].files
  files[_WEIGHTS] = files[_WEIGHTS][:-100]
  with pytest.raises(ValueError, match=f"'hf:{_NAME}@{_COMMIT}/{_WEIGHTS}'"):
    checkpoints.restore(f'hf:{_NAME}')


def test_weights_are_downloaded_beforehand(hub, client, tmp_path):
  told = []
  selection = f'hf:{_NAME},hf:timm/resnet5*'
  assert not download.download(selection, str(tmp_path / 'x'), told.append)
  assert not told
  client(HF_HUB_OFFLINE='1')
  checkpoints.restore(f'hf:{_NAME}')
  assert os.listdir(tmp_path / 'x') == []


def test_the_client_is_not_imported_without_need(client):
  checkpoints.select('mini_vae')
  assert 'huggingface_hub' not in sys.modules
