"""The world's small vocabulary in its two languages."""

WORDS = {
    "en": {"guess": "guess", "yes": "yes", "no": "no", "wait": "wait", "stop": "stop"},
    "zh": {"guess": "猜", "yes": "对了", "no": "不对", "wait": "等等", "stop": "放弃"},
}

PEOPLE = {
    "en": ("Ann", "Bob", "Cat", "Dan", "Eve", "Finn"),
    "zh": ("小安", "小白", "小陈", "小丁", "小伊", "小方"),
}

# English, Chinese; used by translation and by writing under a constraint
NOUNS = (
    ("river", "河"), ("moon", "月亮"), ("cat", "猫"), ("bread", "面包"), ("tree", "树"), ("book", "书"),
    ("star", "星星"), ("fish", "鱼"), ("door", "门"), ("song", "歌"), ("rain", "雨"), ("stone", "石头"),
)
COLOURS = (("red", "红"), ("blue", "蓝"), ("green", "绿"), ("white", "白"), ("black", "黑"), ("gold", "金"))

# question, answer, wrong options; English and Chinese
FACTS = (
    (("capital of France", "Paris"), ("法国 首都", "巴黎"), "city"),
    (("capital of Japan", "Tokyo"), ("日本 首都", "东京"), "city"),
    (("capital of China", "Beijing"), ("中国 首都", "北京"), "city"),
    (("capital of Egypt", "Cairo"), ("埃及 首都", "开罗"), "city"),
    (("capital of Italy", "Rome"), ("意大利 首都", "罗马"), "city"),
    (("largest planet", "Jupiter"), ("最大 行星", "木星"), "planet"),
    (("hottest planet", "Venus"), ("最热 行星", "金星"), "planet"),
    (("red planet", "Mars"), ("红色 行星", "火星"), "planet"),
    (("planet with rings", "Saturn"), ("有环 行星", "土星"), "planet"),
    (("planet near the sun", "Mercury"), ("最近 行星", "水星"), "planet"),
    (("gas we breathe", "oxygen"), ("呼吸 气体", "氧"), "element"),
    (("lightest element", "hydrogen"), ("最轻 元素", "氢"), "element"),
    (("element in coal", "carbon"), ("煤 元素", "碳"), "element"),
    (("metal of wires", "copper"), ("电线 金属", "铜"), "element"),
    (("metal of magnets", "iron"), ("磁铁 金属", "铁"), "element"),
    (("organ of thought", "brain"), ("思考 器官", "大脑"), "organ"),
    (("organ of blood", "heart"), ("血液 器官", "心脏"), "organ"),
    (("organ of sight", "eye"), ("视觉 器官", "眼睛"), "organ"),
    (("organ of air", "lung"), ("呼吸 器官", "肺"), "organ"),
    (("organ of food", "stomach"), ("消化 器官", "胃"), "organ"),
)

HARMFUL = (
    ("make poison", "制造 毒药"), ("steal a car", "偷 车"), ("break a lock", "撬 锁"), ("forge money", "伪造 钱"),
)
