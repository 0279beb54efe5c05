# ruff: noqa: E501 - one sentence and its meaning a line
"""People's own words: forty sentences in each language that no template was written for one by one."""

from __future__ import annotations

from typing import Any

import pytest

from spatial.instruction import Expression, Instruction
from spatial.language import parse_any


def thing(noun: str, color: str | None = None, **details: Any) -> Expression:
    return Expression(noun, color, **details)


def said(kind: str, *things: Expression, **fields: Any) -> Instruction:
    fields.update(zip(("subject", "reference", "reference2"), things))
    return Instruction(kind, **fields)


BALL, CUBE, MUG, CAT, TABLE = (thing(noun) for noun in ("ball", "cube", "mug", "cat", "table"))
RED_BALL, IT = thing("ball", "red"), Expression("it")

ENGLISH = [
    ("move the cup 10% to the right", said("move", MUG, direction="right", amount=10.0, unit="percent_width")),
    ("put the ball in the lower-left corner", said("place", BALL, region="lower-left")),
    ("rotate the view by 45 degrees", said("orbit", amount=45.0, unit="degree")),
    ("add two cats", said("add", CAT, amount=2.0, unit="count")),
    ("so that there are three", said("count", IT, amount=3.0, unit="count")),
    ("add cats so that there are three", said("count", CAT, amount=3.0, unit="count")),
    ("Push the red ball left by ten percent.", said("move", RED_BALL, direction="left", amount=10.0, unit="percent_width")),
    ("pls nudge it up a tad", said("move", IT, direction="up", vagueness="slightly")),
    ("Could you slide the cube half a meter closer to the camera?", said("move", CUBE, direction="forward", amount=0.5, unit="metre")),
    ("drag the mug 50cm towards the table", said("move", MUG, TABLE, value="toward", amount=0.5, unit="metre")),
    ("bring the cat half way to the ball", said("move", CAT, BALL, value="toward", amount=0.5, unit="factor")),
    ("move the sphere further away from the cube", said("move", BALL, CUBE, value="away")),
    ("place the mug in the middle", said("place", MUG, region="centre")),
    ("the cat goes in the top right", said("place", CAT, region="upper-right")),
    ("I want to see the ball at the bottom of the picture", said("place", BALL, region="lower")),
    ("drop the mug onto the table", said("relate", MUG, TABLE, relation="on")),
    ("bring the cat next to the ball that's behind the cube", said("relate", CAT, thing("ball", relation="behind", reference=CUBE), relation="next_to")),
    ("put the mug 0.5 m left of the cube", said("relate", MUG, CUBE, relation="left_of", amount=0.5, unit="metre")),
    ("stand the cat in between the ball and the cube", said("relate", CAT, BALL, CUBE, relation="between")),
    ("switch the ball with the cube", said("swap", BALL, CUBE)),
    ("put the ball where the mug is and vice versa", said("swap", BALL, MUG)),
    ("line up the ball and the cube horizontally", said("align", BALL, CUBE, value="row")),
    ("spin the mug forty-five degrees anti-clockwise", said("rotate", MUG, direction="counterclockwise", amount=45.0, unit="degree")),
    ("turn the cat the other way round", said("rotate", CAT, amount=180.0, unit="degree")),
    ("swing the camera around to the left by 30°", said("orbit", direction="left", amount=30.0, unit="degree")),
    ("tilt the camera up a little", said("pan", direction="up", vagueness="slightly")),
    ("zoom in 1.5x", said("zoom", value="in", amount=1.5, unit="factor")),
    ("zoom out a bit please", said("zoom", value="out", vagueness="slightly")),
    ("make the ball twice as large", said("resize", BALL, value="larger", amount=2.0, unit="factor")),
    ("shrink the bigger cube by 20 percent", said("resize", thing("cube", comparison="larger"), value="smaller", amount=0.8, unit="factor")),
    ("make the ball on the left half its size", said("resize", thing("ball", place="leftmost"), value="smaller", amount=0.5, unit="factor")),
    ("put a red ball on the table", said("add", RED_BALL, TABLE, amount=1.0, unit="count", relation="on")),
    ("give me two more copies of the mug", said("duplicate", MUG, amount=2.0, unit="count")),
    ("get rid of the cat", said("remove", CAT)),
    ("I don't want the cup any more", said("remove", MUG)),
    ("there should only be four mugs in total", said("count", MUG, amount=4.0, unit="count")),
    ("dye the cube violet", said("recolor", CUBE, value="purple")),
    ("make the shiny ball out of wood", said("material", thing("ball", material="glossy"), value="wood")),
    ("make it brighter", said("lighting", value="brighter")),
    ("illuminate the scene from the left", said("lighting", value="side", direction="left")),
    ("replace the backdrop with a forest", said("background", value="forest")),
    ("put everything on a wooden floor", said("background", value="floor:wood")),
    ("flip the photo left to right", said("mirror")),
    ("the red ball should be slightly further right", said("move", RED_BALL, direction="right", vagueness="slightly")),
    ("move the red ball to the left, then remove the cube", said("sequence", steps=(said("move", RED_BALL, direction="left"), said("remove", CUBE)))),
    ("paint the ball red, turn it around and zoom in", said("sequence", steps=(said("recolor", BALL, value="red"), said("rotate", IT, amount=180.0, unit="degree"), said("zoom", value="in")))),
]  # fmt: skip

VIETNAMESE = [
    ("di chuyển quả bóng đỏ sang phải 10%", said("move", RED_BALL, direction="right", amount=10.0, unit="percent_width")),
    ("đặt quả bóng ở góc dưới bên trái", said("place", BALL, region="lower-left")),
    ("xoay góc nhìn 45 độ", said("orbit", amount=45.0, unit="degree")),
    ("thêm hai con mèo", said("add", CAT, amount=2.0, unit="count")),
    ("sao cho có ba con mèo", said("count", CAT, amount=3.0, unit="count")),
    ("thêm mèo sao cho có ba con", said("count", CAT, amount=3.0, unit="count")),
    ("Đẩy trái banh đỏ qua trái mười phần trăm đi.", said("move", RED_BALL, direction="left", amount=10.0, unit="percent_width")),
    ("nhích nó lên một tí nhé", said("move", IT, direction="up", vagueness="slightly")),
    ("dời cái ly qua phải nửa mét", said("move", MUG, direction="right", amount=0.5, unit="metre")),
    ("dịch cái cốc sang trái 0.5 m", said("move", MUG, direction="left", amount=0.5, unit="metre")),
    ("kéo khối lập phương lại gần máy quay một mét rưỡi", said("move", CUBE, direction="forward", amount=1.5, unit="metre")),
    ("đẩy cái cốc tới gần cái bàn 50 cm", said("move", MUG, TABLE, value="toward", amount=0.5, unit="metre")),
    ("đưa con mèo ra xa quả bóng một chút", said("move", CAT, BALL, value="away", vagueness="slightly")),
    ("đưa cái tách vào chính giữa khung hình", said("place", MUG, region="centre")),
    ("chuyển con mèo sang góc phải phía trên", said("place", CAT, region="upper-right")),
    ("tôi muốn thấy quả bóng nằm ở phía dưới", said("place", BALL, region="lower")),
    ("bỏ cái ly lên mặt bàn", said("relate", MUG, TABLE, relation="on")),
    ("đặt con mèo kế bên quả bóng", said("relate", CAT, BALL, relation="next_to")),
    ("để cái cốc đằng sau khối vuông", said("relate", MUG, CUBE, relation="behind")),
    ("đặt cái cốc cách khối lập phương 0,5 mét về bên trái", said("relate", MUG, CUBE, relation="left_of", amount=0.5, unit="metre")),
    ("cho con mèo đứng giữa quả bóng và khối lập phương", said("relate", CAT, BALL, CUBE, relation="between")),
    ("tráo quả bóng với cái cốc cho nhau", said("swap", BALL, MUG)),
    ("xếp quả bóng và khối lập phương thẳng hàng ngang", said("align", BALL, CUBE, value="row")),
    ("vặn cái cốc bốn mươi lăm độ ngược chiều kim đồng hồ", said("rotate", MUG, direction="counterclockwise", amount=45.0, unit="degree")),
    ("cho con mèo quay lưng lại", said("rotate", CAT, amount=180.0, unit="degree")),
    ("quay khung nhìn sang trái một góc 30°", said("orbit", direction="left", amount=30.0, unit="degree")),
    ("ngửa máy quay lên một chút", said("pan", direction="up", vagueness="slightly")),
    ("zoom vào gấp đôi", said("zoom", value="in", amount=2.0, unit="factor")),
    ("phóng to quả bóng lên gấp rưỡi", said("resize", BALL, value="larger", amount=1.5, unit="factor")),
    ("làm khối lập phương bé lại 20%", said("resize", CUBE, value="smaller", amount=0.8, unit="factor")),
    ("thu nhỏ quả bóng đỏ còn một nửa", said("resize", RED_BALL, value="smaller", amount=0.5, unit="factor")),
    ("đặt hai con mèo lên mặt bàn", said("add", CAT, TABLE, amount=2.0, unit="count", relation="on")),
    ("chép cái cốc thành ba bản", said("duplicate", MUG, amount=3.0, unit="count")),
    ("xóa giúp tôi con mèo màu trắng", said("remove", thing("cat", "white"))),
    ("xoá con mèo màu trắng", said("remove", thing("cat", "white"))),
    ("lấy cái ly ra khỏi ảnh", said("remove", MUG)),
    ("phải có đúng bốn cái ly", said("count", MUG, amount=4.0, unit="count")),
    ("nhuộm khối lập phương thành xanh da trời", said("recolor", CUBE, value="blue")),
    ("sơn quả bóng sang màu xanh lá cây", said("recolor", BALL, value="green")),
    ("làm lại cái cốc thủy tinh bằng gỗ", said("material", thing("mug", material="glass"), value="wood")),
    ("làm cho mọi thứ sáng hơn", said("lighting", value="brighter")),
    ("rọi đèn từ bên trái sang", said("lighting", value="side", direction="left")),
    ("thay phông nền bằng một khu rừng", said("background", value="forest")),
    ("lát sàn bằng gỗ", said("background", value="floor:wood")),
    ("lật bức hình theo chiều ngang", said("mirror")),
    ("dời quả bóng qua trái rồi xoá khối lập phương", said("sequence", steps=(said("move", BALL, direction="left"), said("remove", CUBE)))),
    ("Đầu tiên xoá con mèo. Sau đó sơn nó màu đỏ, cuối cùng zoom vào", said("sequence", steps=(said("remove", CAT), said("recolor", IT, value="red"), said("zoom", value="in")))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "meaning"), ENGLISH)
def test_free_english_is_understood(text: str, meaning: Instruction) -> None:
    assert parse_any(text) == ("en", meaning)


@pytest.mark.parametrize(("text", "meaning"), VIETNAMESE)
def test_free_vietnamese_is_understood(text: str, meaning: Instruction) -> None:
    assert parse_any(text) == ("vi", meaning)
