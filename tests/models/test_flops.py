"""Operations counted from dimensions and lengths, by hand."""

from r1jax.models import flops
from r1jax.models.config import ModelConfig

# V = 10, L = 2, D = 4, N = 2, K = 1, H = 4, F = 5
SMALL = ModelConfig(vocab=10, layers=2, width=4, heads=2, kv_heads=1, head_dim=4, ffn=5)


def test_matrix_parameters_by_hand():
    # a layer: queries, keys, values 4 x (2 + 1 + 1) x 4 = 64, output 2 x 4 x 4 = 32, feed-forward 3 x 4 x 5 = 60
    assert flops.matrix_parameters(SMALL) == 2 * (64 + 32 + 60)


def test_forward_by_hand():
    # 2 tokens x 312 weights x 2; attention 4 x 2 layers x 2 heads x 4 = 64 for each token seen, 3 + 4 of them;
    # one use of the head 2 x 10 x 4
    assert flops.forward(SMALL, 2, 4, 1) == 1248 + 64 * 7 + 80


def test_generation_by_hand():
    # one prompt of 2 tokens, encoded once (sees 1 + 2); samples of 1 and 3 tokens: the first is drawn and never fed
    # back, of the second two are fed back at positions 2 and 3 (see 3 + 4); 1 + 3 draws
    expected = (1248 + 64 * 3) + (1248 + 64 * 7) + 4 * 80
    assert flops.generation(SMALL, 2, [1, 3], samples=2) == expected


def test_training_by_hand():
    # a prompt of 2 and a completion of 2: 4 tokens see 1 + 2 + 3 + 4; 2 scored; three times the forward pass
    assert flops.training(SMALL, 2, [2]) == 3 * (4 * 624 + 64 * 10 + 2 * 80)
