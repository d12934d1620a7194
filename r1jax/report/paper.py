"""The paper's own curves and scores, to stand beside ours: DeepSeek-R1-Zero during training, arXiv 2501.12948v1.

Digitised from the figures; AIME 2024 with 16 samples a question for figure 2, mean tokens a response on the
training set for figure 3.
"""

# step: pass@1 in percent, cons@16 in percent (figure 2)
FIGURE_2 = {
    200: (15.6, 25.3), 400: (22.5, 34.0), 600: (24.6, 31.3), 800: (28.7, 34.7), 1000: (31.7, 44.7),
    1200: (37.1, 56.7), 1400: (41.2, 55.3), 1600: (37.7, 48.7), 2000: (38.1, 54.7), 2400: (48.5, 61.3),
    2800: (52.9, 73.3), 3200: (51.3, 68.7), 3600: (58.3, 76.7), 4000: (60.0, 76.7), 4200: (60.2, 73.4),
    4400: (55.9, 76.7), 4600: (57.9, 69.4), 4800: (56.9, 73.3), 5000: (54.0, 70.7), 5200: (63.1, 78.0),
    5400: (57.5, 72.7), 5600: (59.0, 80.0), 5800: (61.7, 80.0), 6000: (64.4, 78.0), 6200: (62.5, 80.0),
    6400: (68.7, 86.7), 6800: (66.3, 76.7), 7000: (68.5, 83.3), 7200: (65.2, 80.0), 7400: (67.7, 83.3),
    7600: (67.3, 81.3), 7800: (66.9, 80.7), 8000: (68.7, 82.0), 8200: (67.7, 83.3), 8400: (71.0, 86.7),
}  # fmt: skip

# step: tokens (figure 3, smoothed)
FIGURE_3 = {
    0: 550, 400: 950, 1000: 1350, 2000: 2050, 3000: 3150, 4000: 3950, 5000: 5100, 6000: 5900, 7000: 7900,
    8000: 9000, 8350: 9650,
}  # fmt: skip

# model: suite -> pass@1 in percent, and cons@64 on AIME 2024. Stages of R1 and V3: tables 3 and 12 of arXiv
# 2501.12948v2, which gives the votes in its text without their number of samples ("cons"): R1-Zero's end state with
# self-consistency, R1's with majority voting. R1-Zero of v1: its table 2. Distilled models and the 32B RL run:
# tables 5 and 6 of v1.
SCORES = {
    "R1-Zero (v2, end state)": {
        "aime_2024": 77.9, "math_500": 95.9, "gpqa_diamond": 75.8, "livecodebench": 50.0, "cons": 86.7},
    "R1-Zero (v1)": {
        "aime_2024": 71.0, "math_500": 95.9, "gpqa_diamond": 73.3, "livecodebench": 50.0, "cons@64": 86.7},
    "R1 Dev1": {"aime_2024": 59.0, "math_500": 94.2, "gpqa_diamond": 66.1, "livecodebench": 57.5},
    "R1 Dev2": {"aime_2024": 74.0, "math_500": 95.9, "gpqa_diamond": 70.7, "livecodebench": 63.5},
    "R1 Dev3": {"aime_2024": 78.1, "math_500": 95.4, "gpqa_diamond": 71.2, "livecodebench": 64.6},
    "R1": {"aime_2024": 79.8, "math_500": 97.3, "gpqa_diamond": 71.5, "livecodebench": 65.9, "cons": 86.7},
    "DeepSeek-V3": {"aime_2024": 39.2, "math_500": 90.2, "gpqa_diamond": 59.1, "livecodebench": 36.2},
    "Distill-Qwen-1.5B": {
        "aime_2024": 28.9, "math_500": 83.9, "gpqa_diamond": 33.8, "livecodebench": 16.9, "cons@64": 52.7},
    "Distill-Qwen-7B": {
        "aime_2024": 55.5, "math_500": 92.8, "gpqa_diamond": 49.1, "livecodebench": 37.6, "cons@64": 83.3},
    "Distill-Qwen-14B": {
        "aime_2024": 69.7, "math_500": 93.9, "gpqa_diamond": 59.1, "livecodebench": 53.1, "cons@64": 80.0},
    "Distill-Qwen-32B": {
        "aime_2024": 72.6, "math_500": 94.3, "gpqa_diamond": 62.1, "livecodebench": 57.2, "cons@64": 83.3},
    "Distill-Llama-8B": {
        "aime_2024": 50.4, "math_500": 89.1, "gpqa_diamond": 49.0, "livecodebench": 39.6, "cons@64": 80.0},
    "Distill-Llama-70B": {
        "aime_2024": 70.0, "math_500": 94.5, "gpqa_diamond": 65.2, "livecodebench": 57.5, "cons@64": 86.7},
    "Qwen2.5-32B-Zero": {
        "aime_2024": 47.0, "math_500": 91.6, "gpqa_diamond": 55.0, "livecodebench": 40.2, "cons@64": 60.0},
}  # fmt: skip

# benchmark: R1-Zero, Dev1, Dev2, Dev3, R1, in percent (arXiv 2501.12948v2, table 3)
STAGES = ("R1-Zero", "Dev1", "Dev2", "Dev3", "R1")
STAGE_TABLE = {
    "MMLU": (88.8, 89.1, 91.2, 91.0, 90.8),
    "IF-Eval": (46.6, 71.7, 72.0, 78.1, 83.3),
    "AlpacaEval 2.0": (24.7, 50.1, 55.8, 62.1, 87.6),
    "ArenaHard": (53.6, 77.0, 73.2, 75.6, 92.3),
    "LiveCodeBench": (50.0, 57.5, 63.5, 64.6, 65.9),
    "AIME 2024": (77.9, 59.0, 74.0, 78.1, 79.8),
    "MATH-500": (95.9, 94.2, 95.9, 95.4, 97.3),
}
