# SPDX-License-Identifier: Apache-2.0
"""The type checker of the tests, for which an int is a float, as in Python."""

import beartype

typechecker = beartype.beartype(
  conf=beartype.BeartypeConf(is_pep484_tower=True)
)
