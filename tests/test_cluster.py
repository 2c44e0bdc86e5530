# SPDX-License-Identifier: Apache-2.0
"""What runs on a cluster, by a stand-in for Ray that runs it here."""

import dataclasses
import pickle
import sys
import types

import jax
import pytest

from neucrab_jax import cluster
from neucrab_jax.finetuning import record as finetuning_record
from neucrab_jax.finetuning import remote as remote_finetuning
from neucrab_jax.finetuning import run as finetuning
from neucrab_jax.finetuning import settings as finetuning_settings
from neucrab_jax.finetuning import trainer
from neucrab_jax.ranking import remote, run
from tests.ranking import ranked


class RayError(Exception):
  """Of the stand-in, as of Ray."""


class Stand:
  """Of Ray, what is used: each call at once, its arguments and result sent."""

  exceptions = types.SimpleNamespace(RayError=RayError)

  def __init__(self):
    self.options, self.began, self.lost = None, [], ()

  def init(self, **options):
    self.began.append(options)
    if options['address'] == 'auto':
      raise ConnectionError('There is no node here.')

  def shutdown(self):
    self.began.clear()

  def remote(self, **options):
    self.options = options

    def decorate(function):
      def call(*arguments):
        if any(a in self.lost for a in arguments if isinstance(a, str)):
          return RayError('The node died.')
        sent = pickle.loads(pickle.dumps(arguments))
        return (pickle.dumps(function(*sent)),)

      return types.SimpleNamespace(remote=lambda *a: Reference(call(*a)))

    return decorate

  def wait(self, running, *, timeout):
    # The last one ends first.
    return running[-1:], running[:-1]

  def get(self, one):
    if isinstance(one.found, RayError):
      raise one.found
    return pickle.loads(one.found[0])

  def cancel(self, one, *, force):
    pass


@dataclasses.dataclass(eq=False)
class Reference:
  found: object


@pytest.fixture
def ray(monkeypatch):
  stand = Stand()
  monkeypatch.setitem(sys.modules, 'ray', stand)
  monkeypatch.setattr('os.chdir', lambda folder: None)
  remote._prepare.cache_clear()
  remote_finetuning._prepare.cache_clear()
  return stand


@pytest.fixture
def config(tmp_path):
  folder = ranked.make_files(tmp_path / 'files', num_examples=150)
  (folder / 'd.npz').write_bytes(b'damaged')
  return ranked.files_config(folder)


def without_seconds(ranking):
  found = dict(ranking)
  found['ranking'] = [{**e, 'seconds': None} for e in found['ranking']]
  return found


@pytest.mark.parametrize('top', [0, 1])
def test_a_cluster_gives_the_same_ranking(ray, config, top, tmp_path):
  config.race.top = top
  here = ranked.rank(config, str(tmp_path / 'here'))
  with cluster.connected('local', gpus=0.5, resources='TPU:4') as used:
    assert cluster.current() is used
    there = ranked.rank(config, str(tmp_path / 'there'))
  assert cluster.current() is None
  assert without_seconds(there) == without_seconds(here)
  assert [failure['checkpoint'] for failure in there['failed']] == ['d']
  assert (ray.options['num_gpus'], ray.options['resources']) == (
    0.5,
    {'TPU': 4.0},
  )
  # And the records beside it, from which a ranking is read.
  names = {file.name for file in (tmp_path / 'there' / 'scores').iterdir()}
  assert names == {'a.json', 'b.json', 'c.json'}


def test_workers_keep_compiled_programs_where_the_command_does(ray, tmp_path):
  before = jax.config.values['jax_compilation_cache_dir']
  jax.config.update('jax_compilation_cache_dir', str(tmp_path))
  try:
    with cluster.connected('local'):
      (options,) = ray.began
  finally:
    jax.config.update('jax_compilation_cache_dir', before)
  passed = options['runtime_env']['env_vars']
  assert passed['JAX_COMPILATION_CACHE_DIR'] == str(tmp_path)


def test_what_is_lost_too_often_fails_alone(ray, config, tmp_path):
  ray.lost = ('b',)
  with cluster.connected('local'):
    found = run.rank(config, str(tmp_path / 'run'))['knn']
  assert [entry.checkpoint for entry in found.ranking] == ['c', 'a']
  errors = {failure.checkpoint: failure.error for failure in found.failed}
  assert errors['b'] == 'RayError: The node died.'


def test_groups_of_trials_are_pieces_whose_states_the_last_one_finds(
  ray, tmp_path, monkeypatch
):
  config = finetuning_settings.protocol('mini')
  config.checkpoints = 'mini_random'
  config.protocol.mode = 'head'
  config.protocol.learning_rates = (1.0, 0.1)
  config.protocol.steps = (5,)
  config.cache_dir = str(tmp_path / 'cache')
  config.together = 1
  (here,) = finetuning.finetune(config, str(tmp_path / 'here')).accuracies
  # Who trains: each piece is asked for by its trials, the last one by all.
  trained = []
  take_steps = trainer._Group._take_steps

  def note(group, state, *, until):
    trained.append([trial.learning_rate for trial in group._trials])
    return take_steps(group, state, until=until)

  monkeypatch.setattr(trainer._Group, '_take_steps', note)
  with cluster.connected('local'):
    found = finetuning.finetune(config, str(tmp_path / 'there'))
  assert trained == [[1.0], [0.1]]
  (there,) = found.accuracies
  whose = [(t.learning_rate, t.curve, t.test_accuracy) for t in there.trials]
  assert whose == [
    (t.learning_rate, t.curve, t.test_accuracy) for t in here.trials
  ]
  assert (there.accuracy, there.chosen) == (here.accuracy, here.chosen)


def test_a_failing_checkpoint_is_an_answer_of_the_node(tmp_path):
  found = remote_finetuning.finetune('{}', '', str(tmp_path), 'mini_vae')
  assert isinstance(found, finetuning_record.Failure)


@pytest.mark.parametrize(
  ('address', 'options', 'message'),
  [
    ('locl', {}, "'locl'.*local"),
    ('auto', {}, 'ray start --head'),
    ('local', {'gpus': -1.0}, 'cluster_gpus must not be negative'),
    ('local', {'resources': 'TPU'}, "NAME:AMOUNT, such as TPU:4, and not 'TPU"),
    ('local', {'resources': 'TPU:0'}, 'NAME:AMOUNT'),
  ],
)
def test_a_cluster_that_cannot_be_is_refused(ray, address, options, message):
  with (
    pytest.raises(ValueError, match=message),
    cluster.connected(address, **options),
  ):
    pass
  assert cluster.current() is None


def test_without_ray_it_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, 'ray', None)
  with (
    pytest.raises(ValueError, match=r"pip install 'neucrab_jax\[cluster\]'"),
    cluster.connected('local'),
  ):
    pass
