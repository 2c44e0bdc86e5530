# SPDX-License-Identifier: Apache-2.0
"""What checkpoints make of a task: extraction, its record and its cache.

Here is the record, which who reads files of features needs alone; what makes
it, and imports networks and decoders of images, is in `compute`, `extraction`
and `cache`.
"""

from neucrab_jax.features.prefix import Prefix as Prefix
from neucrab_jax.features.prefix import whole as whole
from neucrab_jax.features.record import Features as Features
from neucrab_jax.features.record import Origin as Origin
from neucrab_jax.features.record import origin as origin
from neucrab_jax.features.record import read as read
from neucrab_jax.features.record import read_head as read_head
from neucrab_jax.features.record import write as write
