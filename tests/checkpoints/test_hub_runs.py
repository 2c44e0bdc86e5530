# SPDX-License-Identifier: Apache-2.0
"""Rankings and fine-tuning of networks from a hub, beside those of files."""

import hashlib
import json

import numpy as np
import pytest

from configs import finetune as finetune_config
from configs import measure as measure_config
from neucrab_jax.finetuning import run as finetuning
from tests.checkpoints import hub_server, networks, torch_files
from tests.checkpoints import tiny_torch as tiny
from tests.ranking import ranked
from tests.tasks import image_folders

_NAME = hub_server.NAME
_COMMIT = hub_server.commit(_NAME)
_WEIGHTS = 'model.safetensors'


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
