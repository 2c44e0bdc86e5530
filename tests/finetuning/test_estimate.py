# SPDX-License-Identifier: Apache-2.0
"""What a run is said to take, before it is run."""

import json

from configs import finetune as finetune_config
from neucrab_jax.finetuning import estimate


def test_all_trials_of_all_checkpoints_are_priced(tmp_path, capsys):
  config = finetune_config.get_config()
  config.checkpoints = 'mini_sup_glyphs,mini_random,imagenet_mobilenet_v1_025'
  config.checkpoint_dir = str(tmp_path)
  config.protocol.mode = 'head'
  config.protocol.learning_rates = (1.0, 0.1)
  config.protocol.steps = (40, 80)
  config.cache_dir = str(tmp_path / 'cache')
  found = estimate.estimate(config, str(tmp_path / 'run'))
  assert [row.checkpoint for row in found.rows] == [
    'mini_sup_glyphs',
    'mini_random',
  ]
  for row in found.rows:
    assert (row.trials, row.steps) == (4, 240)
    assert row.step_seconds >= 0
    # Linear classifiers of as many features are one network.
    assert row.measured == 'mini_sup_glyphs'
  # What has no weights is told, and nothing was trained to its end.
  (failure,) = found.failed
  assert failure.checkpoint == 'imagenet_mobilenet_v1_025'
  assert not (tmp_path / 'run' / 'accuracies').exists()
  written = json.loads((tmp_path / 'run' / estimate.FILE).read_text())
  assert [row['steps'] for row in written['rows']] == [240, 240]
  printed = capsys.readouterr().out
  assert 'mini_random' in printed
  assert '2 checkpoints' in printed
