# SPDX-License-Identifier: Apache-2.0
r"""NLEEP's own parameters: how its agreement depends on them.

  python -m neucrab_jax.evaluate --config=configs/ablation.py \
      --config.features='DIR/*.npz' --config.accuracies=accuracies.csv

sweeps, as the paper does, the energy that PCA keeps and the components per
class, and beyond it the covariance and the seed. Files of features are those of
`features.py`, accuracies those of `evaluate.py`.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  # Files, folders of them or patterns, separated by commas.
  config.features = ''
  config.accuracies = ''  # A folder that fine-tuning left, or CSVs.
  # Which accuracies, where there are several.
  config.accuracy = ''
  config.task = ''  # On which task, where there are several.

  config.sweep = ml_collections.ConfigDict()
  # Shares of the variance that PCA keeps.
  config.sweep.energies = (0.5, 0.6, 0.7, 0.8, 0.9)
  config.sweep.components_per_class = (1, 2, 3, 5, 10)
  config.sweep.covariances = ('diag', 'full')
  config.sweep.num_seeds = 3

  config.seed = 0  # Of the mixtures' initialisations.
  return config
