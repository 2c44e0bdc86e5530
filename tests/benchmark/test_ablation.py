# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest
from scipy import stats

from configs import ablation as ablation_config
from neucrab_jax import measures, storage
from neucrab_jax.benchmark import ablation

STRENGTHS = {'a': 0.2, 'b': 0.5, 'c': 0.8, 'd': 1.2}
LABELS = np.arange(60) % 3


def features_of(name):
  rng = np.random.default_rng(len(name) + ord(name[0]))
  centres = STRENGTHS[name] * rng.standard_normal((3, 8))
  return (centres[LABELS] + rng.standard_normal((60, 8))).astype('f4')


@pytest.fixture
def config(tmp_path):
  for name in STRENGTHS:
    x = features_of(name)
    np.savez(tmp_path / f'{name}.npz', features=x, labels=LABELS)
  rows = [f'{name},{0.5 * s}' for name, s in STRENGTHS.items()]
  accuracies = tmp_path / 'accuracies.csv'
  accuracies.write_text('\n'.join(['checkpoint,accuracy', *rows]))
  config = ablation_config.get_config()
  config.features = str(tmp_path / '*.npz')
  config.accuracies = str(accuracies)
  config.sweep.energies = (0.5, 0.8)
  config.sweep.components_per_class = (1, 2)
  config.sweep.covariances = ('diag',)
  config.sweep.num_seeds = 3
  return config


def test_each_setting_is_that_nleep(config, tmp_path):
  result = storage.to_builtins(ablation.sweep(config, str(tmp_path / 'run')))
  assert len(result['rows']) == 4
  for row in result['rows']:
    expected = [
      measures.score(
        'nleep',
        features=features_of(name),
        labels=LABELS,
        energy=row['energy'],
        components_per_class=row['components_per_class'],
        num_seeds=3,
      )
      for name in result['checkpoints']
    ]
    np.testing.assert_allclose(row['scores'], expected, atol=1e-4)
    tau = stats.kendalltau(expected, result['accuracies']).statistic
    assert row['tau'] == pytest.approx(tau)
    assert len(row['tau_by_seed']) == 3
  written = json.loads((tmp_path / 'run' / 'ablation.json').read_text())
  assert written == result
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert page.count('<svg') == 1
  assert (tmp_path / 'run' / 'ablation.csv').read_text().count('\n') == 5


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'features': ''}, 'config.features'),
    ({'accuracies': ''}, 'config.accuracies'),
    ({'accuracy': 'linear'}, '0 tables of accuracies'),
    ({'sweep.energies': (1.5,)}, 'not 1.5'),
    ({'sweep.components_per_class': (0,)}, 'not 0'),
    ({'sweep.covariances': ('diagonal',)}, "mean 'diag'"),
    ({'sweep.covariances': ()}, 'covariances is empty'),
    ({'sweep.num_seeds': 0}, 'not 0'),
  ],
)
def test_bad_settings_are_refused(changes, message, config, tmp_path):
  config.update_from_flattened_dict(changes)
  with pytest.raises(ValueError, match=message):
    ablation.sweep(config, str(tmp_path / 'run'))
