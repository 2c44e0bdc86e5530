# SPDX-License-Identifier: Apache-2.0
"""References to the hub: the real client, against a hub on this machine."""

import hashlib
import json
import os
import pathlib
import sys

import numpy as np
import pytest
from safetensors import numpy as safetensors

from configs import finetune as finetune_config
from configs import measure as measure_config
from neucrab_jax import checkpoints, download
from neucrab_jax.finetuning import run as finetuning
from tests.checkpoints import hub_server, networks, torch_files
from tests.checkpoints import tiny_torch as tiny
from tests.ranking import ranked
from tests.tasks import image_folders

_NAME = 'timm/resnet50.a1_in1k'
_COMMIT = hub_server.commit(_NAME)
_WEIGHTS = 'model.safetensors'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A network as a repository has it."""
  return torch_files.write(
    tmp_path_factory.mktemp('made'), config=tiny.config(), stored=tiny.vit()
  )


@pytest.fixture
def client(monkeypatch, tmp_path):
  """Starts the client anew, with an environment: it reads it once."""
  monkeypatch.setenv('HF_HOME', str(tmp_path / 'home'))
  monkeypatch.setenv('HF_HUB_DISABLE_TELEMETRY', '1')
  monkeypatch.setenv('HF_HUB_DISABLE_XET', '1')
  monkeypatch.setenv('HF_HUB_VERBOSITY', 'error')
  monkeypatch.delenv('HF_HUB_CACHE', raising=False)
  monkeypatch.delenv('HF_TOKEN', raising=False)
  # What the client waits between two tries.
  monkeypatch.setattr('time.sleep', lambda seconds: None)

  def start(**environment):
    for name, value in environment.items():
      monkeypatch.setenv(name, value)
    for module in list(sys.modules):
      if module.partition('.')[0] == 'huggingface_hub':
        monkeypatch.delitem(sys.modules, module)

  start()
  return start


@pytest.fixture
def hub(client, folder):
  with hub_server.serving() as hub:
    hub.add(_NAME, folder)
    client(HF_ENDPOINT=hub.url)
    yield hub


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


def test_a_ranking_says_what_was_ranked(hub, folder, tmp_path):
  hub.add('mine/broken', folder)
  hub.repositories['mine/broken'].digests[_WEIGHTS] = 'ab' * 32
  config = measure_config.get_config('knn')
  config.checkpoints = f'hf:mine/broken,hf:{_NAME},mini_vae'
  config.cache_dir = str(tmp_path / 'cache')
  config.task.num_examples = 50
  result = ranked.rank(config, str(tmp_path / 'run'))
  sources = {e['checkpoint']: e.get('source') for e in result['ranking']}
  digests = {
    name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
    for name in ('config.json', _WEIGHTS)
  }
  assert sources == {
    'mini_vae': None,
    'resnet50.a1_in1k': {
      'repository': _NAME,
      'revision': _COMMIT,
      'files': digests,
    },
  }
  (failed,) = result['failed']
  assert failed['checkpoint'] == 'broken'
  assert 'is not what the hub says' in failed['error']


@pytest.fixture
def mixed(hub, tmp_path):
  """Two repositories and a file of each kind, on a folder of images."""
  (tmp_path / 'made').mkdir()
  other = torch_files.write(
    tmp_path / 'made', config=tiny.hf_config(), stored=tiny.hf_vit()
  )
  preprocessor = torch_files.PREPROCESSOR | {
    'size': {'height': 16, 'width': 16}
  }
  (other / 'preprocessor_config.json').write_text(json.dumps(preprocessor))
  hub.add('google/vit', other)
  networks.save(tmp_path)
  rng = np.random.default_rng(0)
  for label, name in enumerate(('cat', 'dog', 'emu')):
    for i in range(6):
      pixels = rng.integers(60 * label, 60 * label + 99, (20, 24, 3))
      image_folders.save(
        tmp_path / 'images' / name / f'{i}.jpg', pixels.astype(np.uint8)
      )
  config = measure_config.get_config('knn')
  files = ','.join(str(tmp_path / f) for f in ('x.onnx', 'y.keras', 'z.*'))
  config.checkpoints = f'hf:{_NAME},hf:google/vit,{files}'
  config.task.name = str(tmp_path / 'images')
  config.cache_dir = str(tmp_path / 'cache')
  return config


def _by_name(result):
  return {entry['checkpoint']: entry for entry in result['ranking']}


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_one_run_ranks_networks_of_all_kinds(mixed, tmp_path):
  result = ranked.rank(mixed, str(tmp_path / 'run'))
  assert result['failed'] == []
  exact = _by_name(result)
  assert set(exact) == {'resnet50.a1_in1k', 'vit', 'x', 'y', 'z'}
  found = {name: entry['network'] for name, entry in exact.items()}
  assert found['vit']['num_parameters'] == sum(
    value.size for value in tiny.vit().values()
  )
  assert found['z']['num_parameters'] == networks.WEIGHTS.size
  assert found['z']['num_bytes'] == networks.WEIGHTS.nbytes
  # A multiplication and an addition for each number of a matrix, at least.
  for name, network in found.items():
    assert network['dtype'] == 'float32', name
    assert network['flops'] > 2 * network['num_parameters'], name
  assert found['z']['flops'] < 2.1 * networks.WEIGHTS.size
  again = ranked.rank(mixed, str(tmp_path / 'again'))
  assert {e['cached'] for e in again['ranking']} == {True}
  assert {n: e['network'] for n, e in _by_name(again).items()} == found
  report = (tmp_path / 'run' / 'report.html').read_text()
  assert f'hf:{_NAME}@{_COMMIT}' in report
  assert exact['vit']['source']['files'][_WEIGHTS] in report
  header = (tmp_path / 'run' / 'ranking.csv').read_text().splitlines()[0]
  assert 'num_parameters,num_bytes,flops,dtype' in header
  # The same networks in another precision are others to the cache.
  mixed.dtype = 'bfloat16'
  result = ranked.rank(mixed, str(tmp_path / 'narrow'))
  (failed,) = result['failed']
  assert failed['checkpoint'] == 'z'
  assert 'cannot run in bfloat16' in failed['error']
  for name, entry in _by_name(result).items():
    assert entry['network'] == {**found[name], 'dtype': 'bfloat16'}
    assert entry['fingerprint'] != exact[name]['fingerprint']
    assert not entry['cached']


def test_an_accuracy_says_what_was_fine_tuned(hub, tmp_path):
  config = finetune_config.get_config()
  config.checkpoints = f'hf:{_NAME}'
  config.task.num_examples = 40
  config.cache_dir = str(tmp_path / 'cache')
  config.protocol.mode = 'head'
  config.protocol.learning_rates = (0.1,)
  config.protocol.steps = (5,)
  (tuned,) = finetuning.finetune(config, str(tmp_path)).accuracies
  assert tuned.source.revision == _COMMIT
  assert tuned.source.files[_WEIGHTS] == hub.repositories[_NAME].digest(
    _WEIGHTS
  )
  report = (tmp_path / 'report.html').read_text()
  assert f'hf:{_NAME}@{_COMMIT}' in report


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
