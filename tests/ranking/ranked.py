# SPDX-License-Identifier: Apache-2.0
"""Rankings of small things, as their records hold them."""

import numpy as np

from configs import features as features_config
from configs import measures as measures_config
from neucrab_jax import storage
from neucrab_jax.ranking import run


def rank_all(config, workdir):
  """What each `ranking.json` of a run holds."""
  rankings = run.rank(config, workdir)
  return {name: storage.to_builtins(found) for name, found in rankings.items()}


def rank(config, workdir):
  """The same of a run with one measure."""
  (ranking,) = rank_all(config, workdir).values()
  return ranking


def scores_of(result):
  return {e['checkpoint']: e['score'] for e in result['ranking']}


def make_files(folder, *, names=('a', 'b', 'c'), num_examples=60):
  """Files as another framework would write them: f16, labels of any int."""
  rng = np.random.default_rng(0)
  labels = np.arange(num_examples) % 3
  folder.mkdir()
  for strength, name in enumerate(names):
    centres = strength * rng.standard_normal((3, 16))
    x = centres[labels] + rng.standard_normal((num_examples, 16))
    np.savez(folder / f'{name}.npz', features=x.astype('f2'), labels=labels)
  return folder


def files_config(pattern, measure='knn'):
  config = features_config.get_config(measure)
  config.features = str(pattern)
  return config


def rewrite(file, **changes):
  with np.load(file) as archive:
    arrays = dict(archive)
  np.savez(file, **{**arrays, **changes})


def several(names, **settings):
  config = measures_config.get_config()
  config.measures = ','.join(names)
  config.update(settings)
  return config
