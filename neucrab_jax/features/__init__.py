# SPDX-License-Identifier: Apache-2.0
"""What checkpoints make of a task: extraction, its record and its cache."""

from neucrab_jax.features.cache import cache_dir as cache_dir
from neucrab_jax.features.compute import Computed as Computed
from neucrab_jax.features.compute import compute as compute
from neucrab_jax.features.extraction import extract as extract
from neucrab_jax.features.extraction import round_batch_size as round_batch_size
from neucrab_jax.features.prefix import Prefix as Prefix
from neucrab_jax.features.prefix import whole as whole
from neucrab_jax.features.record import Features as Features
from neucrab_jax.features.record import Origin as Origin
from neucrab_jax.features.record import origin as origin
from neucrab_jax.features.record import read as read
from neucrab_jax.features.record import read_head as read_head
from neucrab_jax.features.record import write as write
