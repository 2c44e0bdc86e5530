# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning: data-parallel steps, and state that survives a kill."""

from neucrab_jax.training.data import Split as Split
from neucrab_jax.training.data import hold_out as hold_out
from neucrab_jax.training.data import load_images as load_images
from neucrab_jax.training.network import from_backbone as from_backbone
from neucrab_jax.training.network import from_features as from_features
from neucrab_jax.training.protocol import Protocol as Protocol
from neucrab_jax.training.protocol import Trial as Trial
from neucrab_jax.training.trainer import Outcome as Outcome
from neucrab_jax.training.trainer import Trainer as Trainer
from neucrab_jax.training.trainer import forget as forget
