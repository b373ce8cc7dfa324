"""How well the task faq answers with its real model and its own file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks import faq
from tasks._knowledge import Knowledge, read_knowledge

FILE = Path(faq.__file__).with_suffix(".yaml")
answer = faq.answer.__wrapped__

#: The question of the entry that must answer, and ways to ask it that the file does not have.
PARAPHRASES = {
    "你们几点开门？": [
        "早上什么时候开始营业？",
        "请问你们晚上几点打烊",
        "星期天上班吗",
        "你们早上九点开了吗",
    ],
    "节假日营业吗？": ["五一假期你们开不开？"],
    "你们的地址在哪里？": ["请问贵店具体在什么位置？", "怎么找到你们的店"],
    "可以停车吗？": ["我开车过来，车放哪儿？", "有地方停电动车或汽车吗"],
    "店里有 WiFi 吗？": ["无线网络的密码告诉我一下"],
    "你们的联系电话是多少？": ["给我一个能打通的电话"],
    "你们送货上门吗？": ["能帮我把东西送到家里吗？", "住在城西能送吗"],
    "多久能收到货？": ["今天下单哪天能到？", "大概几天可以拿到快递"],
    "运费多少钱？": ["买多少可以免邮费？", "邮寄要另外收钱吗"],
    "怎么查物流？": ["我买的东西现在到哪了？", "帮我看看订单发出了没"],
    "可以寄到国外吗？": ["能邮寄到美国吗？"],
    "怎么取消订单？": ["订单可以撤销吗？"],
    "怎么退货？": ["东西不满意，我要退掉", "买了三天了还可以退吗？", "我后悔了，能退掉吗"],
    "退款多久到账？": ["我的钱几天能退回来？", "退货的钱啥时候打回来"],
    "收到的商品坏了怎么办？": ["杯子寄来的时候就裂了", "快递把我的茶杯摔碎了"],
    "怎么开发票？": ["麻烦给我开张发票", "公司报销需要发票，怎么弄？", "买东西有发票开吗"],
    "支持哪些付款方式？": ["可以用微信支付吗？", "能用数字人民币买单吗"],
    "优惠券怎么用？": ["我有一张优惠券，怎么抵扣？", "这个券为什么不能用"],
    "怎么成为会员？": ["我想办一张会员卡", "开通会员的方法"],
    "积分怎么用？": ["我的积分可以兑换东西吗？", "我有多少积分，能当钱花吗"],
    "这个商品有货吗？": ["请问这款还有没有现货？"],
    "可以包装成礼物吗？": ["能帮忙包成礼品吗？", "妈妈生日，帮我包得漂亮些"],
    "点心里有什么过敏原？": ["我女儿对坚果过敏，这个点心可以吃吗？", "这个蛋糕里有花生吗"],
    "保质期多久？": ["这些糕点可以保存多长时间？"],
    "我要投诉": ["你们店员态度恶劣，我要举报"],
    "你们招人吗？": ["还缺店员吗？我想应聘", "暑假想打工，要人吗"],
    "What are your opening hours?": [
        "Until when are you open tonight?",
        "Do you open on Sundays?",
        "At what hour does the shop shut?",
    ],
    "Where is your shop?": [
        "How do I find your store?",
        "Which street are you on?",
        "What's the street address?",
    ],
    "Is there parking?": [
        "I am coming by car, can I leave it somewhere?",
        "Any parking spaces near you?",
    ],
    "Do you have WiFi?": ["Could you tell me the wifi code?", "Can I get online in your store?"],
    "What is your phone number?": ["Can I call you?"],
    "Do you deliver?": ["Could you send the goods to my home?", "Will you deliver to my office?"],
    "How long does delivery take?": ["How soon can I have my parcel?", "How fast do you ship?"],
    "How much is shipping?": [
        "What do you charge for sending a parcel?",
        "What does delivery cost?",
    ],
    "How can I track my order?": [
        "I want to see where my package is now",
        "Has my order been sent out yet?",
    ],
    "Do you ship abroad?": ["Can you send a parcel to Germany?"],
    "How do I cancel my order?": [
        "Please cancel what I ordered this morning",
        "I changed my mind, stop the order",
    ],
    "How do I return something?": [
        "I am not happy with it, can I give it back?",
        "I'd like to send back a teapot I bought",
    ],
    "When will I get my refund?": [
        "Where is my refund? I am still waiting for the money",
        "When do I get the money back for my return?",
    ],
    "My item arrived damaged": [
        "The cup was cracked when I opened the box",
        "My cups arrived in pieces",
    ],
    "I received the wrong item": ["I got a different product from the one I bought"],
    "Can I get an invoice (fapiao)?": [
        "Please send me an invoice for my purchase",
        "Do you issue tax invoices?",
    ],
    "How can I pay?": ["Is WeChat Pay accepted?", "Is cash ok?"],
    "How do I use a coupon?": ["How can I redeem my coupon?", "Where do I enter my coupon?"],
    "How do I become a member?": [
        "I would like to join your membership programme",
        "Where do I register as a member?",
    ],
    "How do I use my points?": ["What can I do with my points?"],
    "Is this in stock?": [
        "Have you got any of these left?",
        "Is the green tea set available right now?",
    ],
    "Do you gift wrap?": ["It is a present, could you wrap it nicely?", "Do you have gift boxes?"],
    "Which allergens are in your food?": [
        "My son has a nut allergy, is this cake safe?",
        "Are your cookies free of gluten?",
    ],
    "How long does it keep?": ["For how many days can I eat the pastries?"],
    "Are you hiring?": [
        "Do you need more staff? I am looking for work",
        "Any vacancies at the moment?",
    ],
    "Can I bring my pet?": ["May my dog come inside with me?"],
    "可以到店自提吗？": ["我自己过来取行吗"],
    "怎么修改收货地址？": ["收货人信息填错怎么改"],
    "可以换货吗？": ["能不能给我换一个别的"],
    "可以带宠物进店吗？": ["我家狗狗可以一起来吗"],
    "Is the shop wheelchair accessible?": ["My mother uses a wheelchair, can she get in?"],
}

OFF_TOPIC = [
    "中国的首都是哪里？",
    "帮我写一首关于月亮的诗",
    "一加一等于几",
    "昨晚的足球比赛谁赢了？",
    "怎么治疗感冒发烧",
    "量子力学的基本原理是什么",
    "如何学习弹吉他",
    "特斯拉股票今天涨了吗",
    "Who was the first president of the United States?",
    "Write a Python function that sorts a list",
    "What is the distance from the Earth to the Moon?",
    "Who won the football match last night?",
    "How do I fix a flat bicycle tyre?",
    "Explain the theory of relativity",
    "Translate this sentence into French",
    "How tall is Mount Everest?",
]


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return read_knowledge(FILE)


@pytest.fixture(scope="module")
def index() -> faq.FaqIndex:
    return faq.load()


def test_the_file_has_at_least_40_entries_with_two_aliases_in_each_language(knowledge):
    for language in ("zh", "en"):
        wordings = [item for item in knowledge.wordings if item.language == language]
        assert len(wordings) >= 40
        assert all(len(wording.phrases) >= 3 for wording in wordings)


def test_every_question_and_alias_finds_its_own_entry(index, knowledge):
    wanted = {
        phrase.text: wording.answer for wording in knowledge.wordings for phrase in wording.phrases
    }
    found = dict(zip(wanted, answer(index, list(wanted)), strict=True))
    assert found == wanted


def test_at_least_85_percent_of_the_paraphrases_find_their_entry(index, knowledge):
    known = {phrase.text for wording in knowledge.wordings for phrase in wording.phrases}
    answer_of = {wording.phrases[0].text: wording.answer for wording in knowledge.wordings}
    cases = [(text, answer_of[entry]) for entry, texts in PARAPHRASES.items() for text in texts]
    assert len(cases) >= 40
    assert not known & {text for text, _ in cases}
    answers = answer(index, [text for text, _ in cases])
    missed = [text for (text, wanted), got in zip(cases, answers, strict=True) if got != wanted]
    assert len(missed) <= 0.15 * len(cases), missed


def test_every_off_topic_question_gets_the_fallback_in_the_askers_language(index):
    wanted = [index.fallbacks[faq.language_of(question)] for question in OFF_TOPIC]
    assert answer(index, OFF_TOPIC) == wanted


def test_a_batch_of_32_is_answered_as_32_single_questions_are(index):
    questions = ([text for texts in PARAPHRASES.values() for text in texts][::2] + OFF_TOPIC)[:32]
    assert len(questions) == 32
    assert answer(index, questions) == [answer(index, [question])[0] for question in questions]
