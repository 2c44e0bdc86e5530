# SPDX-License-Identifier: Apache-2.0
"""From checkpoints to a ranking: what takes part, how it scores, the record."""
