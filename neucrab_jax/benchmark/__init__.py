# SPDX-License-Identifier: Apache-2.0
"""Rankings, and what they are worth."""
