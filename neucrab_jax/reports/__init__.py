# SPDX-License-Identifier: Apache-2.0
"""Views of records: pages, tables for a terminal, plots."""
