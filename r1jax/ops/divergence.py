"""How far a student's next-token distribution is from its teacher's, at every position, without ever holding [B, T, V].

The two share a tokenizer and nothing else: widths, depths and types may differ, and so may the rows with which their
heads are filled up beyond its words (of Qwen 2.5, 151,936 or 152,064 by size).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from r1jax.core.errors import ConfigError
from r1jax.ops.logprobs import project, split, tempered


def token_divergence(
    student_hidden: jax.Array,
    student_head: jax.Array,
    teacher_hidden: jax.Array,
    teacher_head: jax.Array,
    *,
    temperature: float | jax.Array = 1.0,
    chunk: int = 1024,
    words: int | None = None,
) -> jax.Array:
    """``temperature^2 KL(teacher || student)`` of the two softmaxes at a temperature, for each position.

    With q = softmax(logits / temperature) it is ``temperature^2 sum_v q_teacher (log q_teacher - log q_student)``.
    The soft targets and their temperature are those of Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural
    Network" (2015), section 2. It is the cross-entropy with the soft targets less their entropy, which has no gradient
    in the student. The gradient of the plain divergence falls as 1 / temperature^2, so they multiply by
    temperature^2 wherever soft and hard targets are added; that factor is chosen here, inside, so that no caller
    forgets it. At temperature 1 the value is the divergence in nats.

    Tokens go through both heads in chunks, each recomputed in the backward pass: a few arrays [chunk, V] exist at a
    time. The teacher gets no gradient.

    Args:
      student_hidden: [B, T, D], after the final norm. student_head: [V, D], the float32 master, as for
        `ops.logprobs.token_logprobs`.
      teacher_hidden: [B, T, D'], of the same tokens. teacher_head: [V, D']. Row v of both heads must be the same word;
        that their numbers of rows agree is all that can be checked here.
      temperature: a scalar above 0. chunk: tokens at a time over the whole mesh.
      words: of the tokenizer that both were trained with: heads may then have different numbers of rows, as
        `common_rows` says.

    Returns:
      [B, T], at least float32; 0 where the two agree.

    Raises:
      ConfigError: vocabularies of different sizes, hidden states of different positions, chunk below 1, or a
        temperature not above 0.
    """
    rows = common_rows(student_head.shape[0], teacher_head.shape[0], words)
    _check(student_hidden, teacher_hidden, chunk)
    student_head, teacher_head = (
        head if head.shape[0] == rows else head[:rows] for head in (student_head, teacher_head))
    teacher_hidden, teacher_head = jax.lax.stop_gradient((teacher_hidden, teacher_head))
    batch, time = student_hidden.shape[:2]
    tokens = batch * time
    flat = tuple(hidden.reshape(tokens, hidden.shape[-1]) for hidden in (student_hidden, teacher_hidden))
    of_chunk = jax.checkpoint(partial(_of_chunk, temperature=temperature), prevent_cse=False)
    heads = student_head, teacher_head
    if tokens <= chunk:
        return of_chunk(heads, *flat).reshape(batch, time)
    # Every count-th token to a chunk, and not neighbours: see ops/logprobs.py on sharding.
    parts = tuple(split(hidden, -(-tokens // chunk)) for hidden in flat)
    _, found = jax.lax.scan(lambda _, part: (None, of_chunk(heads, *part)), None, parts)
    return found.swapaxes(0, 1).reshape(-1)[:tokens].reshape(batch, time)


def common_rows(student: int, teacher: int, words: int | None = None) -> int:
    """How many words two heads share: all their rows, or, where both exceed a common tokenizer, those of the smaller.

    Rows beyond the tokenizer's words never come up in a text and are only there to fill the head up; both softmaxes are
    then over the common rows.

    Args:
      student, teacher: rows of their heads. words: of the tokenizer that both were trained with; None: not known.

    Raises:
      ConfigError: they differ, and the words of a common tokenizer are not known or are more than one of them has.
    """
    if student != teacher and (words is None or min(student, teacher) < words):
        known = "" if words is None else f", and the tokenizer {words}"
        raise ConfigError(
            f"The student's vocabulary has {student} words and the teacher's {teacher}{known}; "
            "distillation from logits needs one vocabulary for both: take a teacher of the student's family, or "
            "distil from the teacher's responses.")
    return min(student, teacher)


def _check(student_hidden, teacher_hidden, chunk):
    if student_hidden.shape[:2] != teacher_hidden.shape[:2]:
        raise ConfigError(
            f"The student's hidden states are of {student_hidden.shape[:2]} positions and the teacher's of "
            f"{teacher_hidden.shape[:2]}; give both the same batch.")
    if chunk < 1:
        raise ConfigError(f"chunk={chunk} tokens of a divergence at a time is impossible; it must be at least 1.")


def _of_chunk(heads, student_hidden, teacher_hidden, *, temperature):
    """[N, D], [N, D'] -> [N]."""
    student, teacher = (
        jax.nn.log_softmax(tempered(project(hidden, head), temperature), axis=-1)
        for hidden, head in zip((student_hidden, teacher_hidden), heads, strict=True)
    )
    # The wider type of the two, where a float64 student learns from a float32 teacher.
    wide = jnp.promote_types(student.dtype, teacher.dtype)
    student, teacher = student.astype(wide), teacher.astype(wide)
    return temperature**2 * jnp.sum(jnp.exp(teacher) * (teacher - student), axis=-1)
