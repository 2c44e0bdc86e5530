# SPDX-License-Identifier: Apache-2.0
"""Which of these checkpoints will transfer best to my task?

An implementation of "Ranking Neural Checkpoints" (Li et al., CVPR 2021): the
NeuCRaB benchmark and NLEEP, its best measure.
"""

from neucrab_jax.version import __version__ as __version__
