# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning: data-parallel steps, and state that survives a kill."""
