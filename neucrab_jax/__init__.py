# SPDX-License-Identifier: Apache-2.0
"""Which of these checkpoints will transfer best to my task?

An implementation of "Ranking Neural Checkpoints" (Li et al., CVPR 2021): the
NeuCRaB benchmark and NLEEP, its best measure.
"""

import importlib

from neucrab_jax.version import __version__ as __version__

# Imported when asked for: a command that is started heeds Ctrl-C first.
_LAZY = {
  'rank_checkpoints': 'neucrab_jax.ranking.notebook',
  'rank_features': 'neucrab_jax.ranking.notebook',
  'Ranking': 'neucrab_jax.ranking.record',
}


def __getattr__(name: str):
  if name not in _LAZY:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *_LAZY])
