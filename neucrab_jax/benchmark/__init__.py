# SPDX-License-Identifier: Apache-2.0
"""Judges measures by accuracies: alignment, metrics, how sure they are."""
