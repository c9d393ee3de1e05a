"""Comparing and deciding: which runs, how sure, what next. Pure arithmetic on facts about runs; imports neither torch nor
SQL."""
