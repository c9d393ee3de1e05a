"""Background runs: what is stored about them, who starts them, and what a person may do to them.

Importing this package imports neither torch nor SQLAlchemy; take what is needed from its modules.
"""
