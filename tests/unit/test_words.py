import pytest

from nmt.alignment.words import split_words, word_spans


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("je t'aime.", ["je", "t'", "aime", "."]),
        ("L’homme n'a pas vu l'eau aujourd'hui", ["L’", "homme", "n'", "a", "pas", "vu", "l'", "eau", "aujourd'hui"]),
        ("I don't know, do you?", ["I", "don't", "know", ",", "do", "you", "?"]),
        ("est-ce qu'il vient ?", ["est-ce", "qu'", "il", "vient", "?"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("e\u0301te\u0301 3,5", ["e\u0301te\u0301", "3,5"]),
        ("«oui» 🎉", ["«", "oui", "»", "🎉"]),
        ("  ", []),
        ("c'mon, m'lady, s'mores ca n't", ["c'mon", ",", "m'lady", ",", "s'mores", "ca", "n't"]),
        ("我喜欢黑色的猫。", ["我", "喜", "欢", "黑", "色", "的", "猫", "。"]),
        ("東京のカメラで、2024年", ["東", "京", "の", "カメラ", "で", "、", "2024", "年"]),
        ("iPhoneを買う", ["iPhone", "を", "買", "う"]),
        ("เขาไปน้ำตก", ["เขา", "ไป", "น้ำ", "ต", "ก"]),
        ("ខ្ញុំ មាន", ["ខ្ញុំ", "មា", "ន"]),
        ("မြန်မာ", ["မြ", "န်", "မာ"]),
        ("یہ کتاب ہے۔", ["یہ", "کتاب", "ہے", "۔"]),
        ("ይህ መጽሐፍ ነው።", ["ይህ", "መጽሐፍ", "ነው", "።"]),
        ("［abc］10～20", ["［", "abc", "］", "10", "～", "20"]),
        ("Donau\u00addampf", ["Donau\u00addampf"]),
        ("나는 고양이를 좋아한다.", ["나는", "고양이를", "좋아한다", "."]),
        ("👩\u200d💻🇹🇷👍🏽a❤\ufe0fb #\ufe0f\u20e3", ["👩\u200d💻", "🇹🇷", "👍🏽", "a", "❤\ufe0f", "b", "#\ufe0f\u20e3"]),
        ("か\u3099き\u3099 カ\u3099ス 葛\U000e0100城", ["か\u3099", "き\u3099", "カ\u3099ス", "葛\U000e0100", "城"]),
        ("ខ្ញុំ\u200bទៅ ไป\u200bมา a\u200bb", ["ខ្ញុំ", "ទៅ", "ไป", "มา", "a\u200bb"]),
        ("אמר שלום\u200f, כן \u200eab", ["אמר", "שלום", ",", "כן", "ab"]),
        ("x \u200b y", ["x", "\u200b", "y"]),
        ('צה"ל, ה"כלב"', ['צה"ל', ",", "ה", '"', "כלב", '"']),
        ("می\u200cخواهم ١٢٫٥", ["می\u200cخواهم", "١٢٫٥"]),
        ("Hawai‘i ‘oe’ O‘zbekiston", ["Hawai‘i", "‘", "oe", "’", "O‘zbekiston"]),
        ("བོད་སྐད།", ["བོད་", "སྐད", "།"]),
        ("ᱥᱟᱱᱛᱟᱲᱤ᱾ ꯃꯅꯤꯄꯨꯔ꯫ ﴿نص﴾", ["ᱥᱟᱱᱛᱟᱲᱤ", "᱾", "ꯃꯅꯤꯄꯨꯔ", "꯫", "﴿", "نص", "﴾"]),
    ],
)
def test_words_end_at_space_punctuation_and_elision(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def test_spans_are_in_order_and_leave_out_only_white_space() -> None:
    text = "Qu'est-ce  que\u2028c'est, \tça?"
    spans = word_spans(text)
    covered = {i for start, end in spans for i in range(start, end)}
    assert spans == sorted(spans)
    assert {text[i] for i in range(len(text)) if i not in covered} <= set(" \t\u2028")
