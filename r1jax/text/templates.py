"""The chat templates of R1 and of its distilled models, in words of our own: they render what the released ones do.

After the beginning of sequence stands the system message, if there is one (of several the last), then the turns. Of an
earlier answer only what follows its thought is kept. Roles other than system, user and assistant are refused: the
released templates also write calls of tools. `chat_template.jinja` of an exported model can hold either text.
"""

from __future__ import annotations

R1 = """{{ bos_token }}
{%- for message in messages if message.role == 'system' %}
    {%- if loop.last %}{{ message.content }}{% endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'user' %}<｜User｜>{{ message.content }}
    {%- elif message.role == 'assistant' %}<｜Assistant｜>{{ message.content.split('</think>') | last }}{{ eos_token }}
    {%- elif message.role != 'system' %}
        {{- raise_exception('it has no turn for the role ' ~ message.role) }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}<｜Assistant｜>{% endif %}"""
R1_DISTILL = R1.replace("<｜Assistant｜>{% endif %}", "<｜Assistant｜>{{ '<think>\\n' }}{% endif %}")
