# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to its accuracy: fine-tuning that survives a kill."""
