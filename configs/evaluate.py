# SPDX-License-Identifier: Apache-2.0
r"""Your own rankings, judged by your own accuracies.

  python -m neucrab_jax.evaluate --config=configs/evaluate.py \
      --config.rankings='runs/*/ranking.json' --config.accuracies=mine.csv

Accuracies are from 0 to 1: the folder that fine-tuning left, or CSVs with the
columns `checkpoint`, `accuracy` (or several `accuracy_<kind>`) and, unless the
file is named after it, `task`. CSVs do for rankings too: a column
`checkpoint`, and one for each measure.
"""

import ml_collections


def get_config() -> ml_collections.ConfigDict:
  config = ml_collections.ConfigDict()
  config.group = 'checkpoints'  # What to call them.
  # Files, folders or patterns, separated by commas.
  config.rankings = ''
  config.accuracies = ''  # The same; from 0 to 1.
  # An order to beat, from worst to best: a group such as neucrab_1, or names
  # separated by commas; with '-' in front, from best to worst.
  config.order = ''
  # Judge how well other tasks' accuracies predict, without any ranking.
  config.history_alone = False

  # For intervals, p-values and comparisons.
  config.num_resamples = 10_000
  config.seed = 0  # Of the resamples.
  return config
