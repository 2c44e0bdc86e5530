# SPDX-License-Identifier: Apache-2.0
"""Measures of transferability: pure functions of arrays, larger is better.

A measure is one file, which declares one `measure.Measure`, and one line of
`registry.MODULES`. It knows arrays alone: what images, files and configs make
of them is the caller's.
"""

from neucrab_jax.measures.evaluation import Evaluation as Evaluation
from neucrab_jax.measures.evaluation import check_inputs as check_inputs
from neucrab_jax.measures.evaluation import evaluate as evaluate
from neucrab_jax.measures.evaluation import lacks as lacks
from neucrab_jax.measures.evaluation import score as score
from neucrab_jax.measures.inputs import check_labels as check_labels
from neucrab_jax.measures.measure import MeasureWarning as MeasureWarning
from neucrab_jax.measures.registry import check_options as check_options
from neucrab_jax.measures.registry import default_options as default_options
from neucrab_jax.measures.registry import names as names
from neucrab_jax.measures.registry import sees_examples as sees_examples
from neucrab_jax.measures.registry import spread as spread
from neucrab_jax.measures.registry import trains as trains
from neucrab_jax.measures.registry import variant as variant
from neucrab_jax.measures.resampling import (
  check_num_resamples as check_num_resamples,
)
from neucrab_jax.measures.resampling import check_seed as check_seed
from neucrab_jax.measures.resampling import first_order as first_order
