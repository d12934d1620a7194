"""The worked example of `chat_prompts.test_generator_messages`: a problem and six programs that print inputs of it."""

_PROBLEM = """\
The first line holds n, from 1 to 200000. The second line holds n whole numbers from -1000000000 to 1000000000, with a \
space between them. Print the length of the longest run of equal neighbours.

Example input:
5
7 7 2 2 2

Example output:
3"""

_PROGRAMS = """\
Small and random, with few different values, so that runs are frequent and a slow solution can be compared:
```python
import random

n = random.randint(1, 10)
print(n)
print(*[random.randint(-2, 2) for _ in range(n)])
```
As large as it may be, with the largest values, against slow reading and narrow integers:
```python
import random

n = 200000
print(n)
print(*[random.choice((-1000000000, 1000000000)) for _ in range(n)])
```
One run over everything, against methods that look at every pair:
```python
import random

n = 200000
value = random.randint(-1000000000, 1000000000)
print(n)
print(*[value] * n)
```
No two neighbours equal, though there are only two values, against counting values instead of runs:
```python
import random

n = random.randint(199000, 200000)
first, second = random.sample(range(-1000000000, 1000000001), 2)
print(n)
print(*[(first, second)[i % 2] for i in range(n)])
```
The longest run at the very end, against a count that is only compared when a run is over:
```python
import random

n, last = 200000, random.randint(1000, 2000)
values = [random.randint(0, 3) for _ in range(n - last)]
print(n)
print(*values, *[9] * last)
```
A single number, the smallest input, with a value like one that programs begin with:
```python
import random

print(1)
print(random.choice((0, -1)))
```"""

EXAMPLE = _PROBLEM, _PROGRAMS
