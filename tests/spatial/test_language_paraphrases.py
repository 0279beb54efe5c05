# ruff: noqa: E501 - one sentence and its meaning a line
"""People's own words, in each language: what an ordinary user of an image editor would type."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spatial.instruction import Expression, Instruction
from spatial.language import parse, parse_any, say


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
    ("move the cat up 15%", said("move", CAT, direction="up", amount=15.0, unit="percent_height")),
    ("shift the ball 10 percent right", said("move", BALL, direction="right", amount=10.0, unit="percent_width")),
    ("shift the ball right 10 percent", said("move", BALL, direction="right", amount=10.0, unit="percent_width")),
    ("slide the table over to the left 20 cm", said("move", TABLE, direction="left", amount=0.2, unit="metre")),
    ("scoot the cube over to the left a little", said("move", CUBE, direction="left", vagueness="slightly")),
    ("pull the mug forward half a meter", said("move", MUG, direction="forward", amount=0.5, unit="metre")),
    ("push the table back a little", said("move", TABLE, direction="backward", vagueness="slightly")),
    ("send the cat to the back", said("move", CAT, direction="backward")),
    ("lift the ball a bit", said("move", BALL, direction="up", vagueness="slightly")),
    ("raise the mug up 5%", said("move", MUG, direction="up", amount=5.0, unit="percent_height")),
    ("lower the cup by 10%", said("move", MUG, direction="down", amount=10.0, unit="percent_height")),
    ("move the bigger ball to the right", said("move", thing("ball", comparison="larger"), direction="right")),
    ("move the cat behind the cube to the left", said("move", thing("cat", relation="behind", reference=CUBE), direction="left")),
    ("move ball to the left of the image", said("place", BALL, region="left")),
    ("put the ball to the right", said("place", BALL, region="right")),
    ("put the red ball in the bottom left corner", said("place", RED_BALL, region="lower-left")),
    ("place the mug at the very top", said("place", MUG, region="upper")),
    ("center the mug", said("place", MUG, region="centre")),
    ("Please centre the cat in the picture.", said("place", CAT, region="centre")),
    ("set the mug beside the cat", said("relate", MUG, CAT, relation="next_to")),
    ("make the cat and the ball switch places", said("swap", CAT, BALL)),
    ("let the mug and the cube exchange positions", said("swap", MUG, CUBE)),
    ("turn the cat so it faces the other way", said("rotate", CAT, amount=180.0, unit="degree")),
    ("rotate the camera 30 degrees left", said("orbit", direction="left", amount=30.0, unit="degree")),
    ("orbit 30 degrees to the right", said("orbit", direction="right", amount=30.0, unit="degree")),
    ("orbit left", said("orbit", direction="left")),
    ("orbit a bit to the left", said("orbit", direction="left", vagueness="slightly")),
    ("Zoom out by 20%", said("zoom", value="out", amount=1.2, unit="factor")),
    ("zoom in 20%", said("zoom", value="in", amount=1.2, unit="factor")),
    ("zoom out 20 percent", said("zoom", value="out", amount=1.2, unit="factor")),
    ("Can you zoom the camera out by thirty percent?", said("zoom", value="out", amount=1.3, unit="factor")),
    ("the camera should zoom out by 10%", said("zoom", value="out", amount=1.1, unit="factor")),
    ("zoom in to 150%", said("zoom", value="in", amount=1.5, unit="factor")),
    ("zoom out a bit more", said("zoom", value="out", vagueness="slightly")),
    ("move the camera closer", said("zoom", value="in")),
    ("pull the camera back", said("zoom", value="out")),
    ("pan left", said("pan", direction="left")),
    ("pan up a bit", said("pan", direction="up", vagueness="slightly")),
    ("pan the camera to the right 10 degrees", said("pan", direction="right", amount=10.0, unit="degree")),
    ("pan 10° to the right", said("pan", direction="right", amount=10.0, unit="degree")),
    ("shrink the cat by half", said("resize", CAT, value="smaller", amount=0.5, unit="factor")),
    ("make the cube half as big", said("resize", CUBE, value="smaller", amount=0.5, unit="factor")),
    ("enlarge the mug to twice its size", said("resize", MUG, value="larger", amount=2.0, unit="factor")),
    ("make the mug huge", said("resize", MUG, value="larger")),
    ("add two more cats", said("add", CAT, amount=2.0, unit="count")),
    ("I need three more red balls on the left", said("add", RED_BALL, amount=3.0, unit="count", region="left")),
    ("put one more mug on the table", said("add", MUG, TABLE, amount=1.0, unit="count", relation="on")),
    ("I need a cat next to the table", said("add", CAT, TABLE, amount=1.0, unit="count", relation="next_to")),
    ("I want exactly four mugs", said("count", MUG, amount=4.0, unit="count")),
    ("only keep two cats", said("count", CAT, amount=2.0, unit="count")),
    ("keep only one cat", said("count", CAT, amount=1.0, unit="count")),
    ("leave exactly two mugs in the picture", said("count", MUG, amount=2.0, unit="count")),
    ("recolor the mug in white", said("recolor", MUG, value="white")),
    ("paint the ball in the color green", said("recolor", BALL, value="green")),
    ("turn the lights down", said("lighting", value="dimmer")),
    ("warm up the lighting", said("lighting", value="warmer")),
    ("cool the light down", said("lighting", value="cooler")),
    ("lift the mug a bit and make it bigger", said("sequence", steps=(said("move", MUG, direction="up", vagueness="slightly"), said("resize", IT, value="larger")))),
    ("zoom out 20% then pan left", said("sequence", steps=(said("zoom", value="out", amount=1.2, unit="factor"), said("pan", direction="left")))),
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
    ("bỏ cái ly vào góc dưới bên trái", said("place", MUG, region="lower-left")),
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
    ("đưa con mèo lại gần cái bàn", said("move", CAT, TABLE, value="toward")),
    ("nâng quả bóng lên một chút", said("move", BALL, direction="up", vagueness="slightly")),
    ("hạ cái cốc xuống 10%", said("move", MUG, direction="down", amount=10.0, unit="percent_height")),
    ("đưa quả bóng ra giữa", said("place", BALL, region="centre")),
    ("kéo con mèo vào giữa ảnh", said("place", CAT, region="centre")),
    ("căn giữa cái cốc", said("place", MUG, region="centre")),
    ("đặt cái cốc ở trên cùng", said("place", MUG, region="upper")),
    ("xếp con mèo và quả bóng cạnh nhau", said("align", CAT, BALL, value="row")),
    ("xoay máy quay sang trái 30 độ", said("orbit", direction="left", amount=30.0, unit="degree")),
    ("xoay camera sang phải một chút", said("orbit", direction="right", vagueness="slightly")),
    ("xoay máy quay sang phải", said("orbit", direction="right")),
    ("thu nhỏ góc nhìn 20%", said("zoom", value="out", amount=1.2, unit="factor")),
    ("thu nhỏ khung hình đi hai mươi phần trăm", said("zoom", value="out", amount=1.2, unit="factor")),
    ("zoom ra 20%", said("zoom", value="out", amount=1.2, unit="factor")),
    ("zoom ra thêm 20 phần trăm nhé", said("zoom", value="out", amount=1.2, unit="factor")),
    ("zoom xa ra 30%", said("zoom", value="out", amount=1.3, unit="factor")),
    ("cho máy quay zoom ra 20%", said("zoom", value="out", amount=1.2, unit="factor")),
    ("zoom vào 20%", said("zoom", value="in", amount=1.2, unit="factor")),
    ("phóng to góc nhìn 20%", said("zoom", value="in", amount=1.2, unit="factor")),
    ("phóng to khung hình lên thêm 50 phần trăm", said("zoom", value="in", amount=1.5, unit="factor")),
    ("phóng to 2 lần", said("zoom", value="in", amount=2.0, unit="factor")),
    ("phóng to lên 30%", said("zoom", value="in", amount=1.3, unit="factor")),
    ("thu nhỏ 20%", said("zoom", value="out", amount=1.2, unit="factor")),
    ("phóng to một chút", said("zoom", value="in", vagueness="slightly")),
    ("thu nhỏ lại một chút", said("zoom", value="out", vagueness="slightly")),
    ("phóng to lên", said("zoom", value="in")),
    ("thu nhỏ lại", said("zoom", value="out")),
    ("lia sang phải", said("pan", direction="right")),
    ("lia lên trên 10 độ", said("pan", direction="up", amount=10.0, unit="degree")),
    ("lia sang trái một tí", said("pan", direction="left", vagueness="slightly")),
    ("chỉ giữ lại hai con mèo", said("count", CAT, amount=2.0, unit="count")),
    ("chỉ để một con mèo", said("count", CAT, amount=1.0, unit="count")),
    ("giữ lại đúng ba quả bóng", said("count", BALL, amount=3.0, unit="count")),
    ("cho cái cốc màu trắng", said("recolor", MUG, value="white")),
    ("làm cho quả bóng bằng thuỷ tinh", said("material", BALL, value="glass")),
    ("lật ngược bức ảnh theo chiều ngang", said("mirror")),
    ("thu nhỏ góc nhìn 20% rồi lia sang trái", said("sequence", steps=(said("zoom", value="out", amount=1.2, unit="factor"), said("pan", direction="left")))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "meaning"), ENGLISH)
def test_free_english_is_understood(text: str, meaning: Instruction) -> None:
    assert parse_any(text) == ("en", meaning)


@pytest.mark.parametrize(("text", "meaning"), VIETNAMESE)
def test_free_vietnamese_is_understood(text: str, meaning: Instruction) -> None:
    assert parse_any(text) == ("vi", meaning)


@pytest.mark.parametrize(("text", "meaning"), [*ENGLISH, *VIETNAMESE])
def test_what_is_understood_can_be_said_in_both_languages(text: str, meaning: Instruction) -> None:
    for language in ("en", "vi"):
        for seed in range(3):
            again = say(meaning, language, np.random.default_rng(seed))
            assert parse(again, language) == meaning, again
