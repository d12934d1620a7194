"""The four tags of R1-Zero's template, spelled once (DeepSeek-R1, Table 1).

Prompts, parsers, rewards and tokenizers all take the strings from here.
"""

THINK_OPEN = "<think>"
THINK_CLOSE = "</think>"
ANSWER_OPEN = "<answer>"
ANSWER_CLOSE = "</answer>"
TAGS = (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE)
