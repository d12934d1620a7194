"""The tiny world: a procedural corpus in English and Chinese, and problems with checkable answers.

No download, no network: everything is a function of a seed. See DESIGN in docs for what each
document teaches; `corpus.documents` gives the training text and `problems.world_problems` the questions.
"""
