"""Plain words to build problems from; no word is in both lists."""

_KEYS = """
anchor apple arrow badger balcony barrel basket beacon beetle blanket bottle branch bridge
bucket button cabin camel candle canyon carpet castle cellar chimney circle cloud compass copper
corner cottage cradle crystal curtain desert dragon drum eagle engine feather fiddle forest
fountain garden ginger glacier hammer harbor helmet hollow island jacket jungle kettle ladder
lantern lemon lizard magnet marble market meadow mirror monkey mountain needle
"""

_VALUES = """
oak olive onion orbit orchid otter oven oyster paddle palace panda paper parrot pearl pebble
pencil pepper piano pigeon pillow pirate planet pocket pony puppet quartz quilt rabbit radio
raven ribbon river robin rocket saddle sailor salmon shadow shelter silver spider spoon stable
statue summer sunset temple thunder ticket tiger timber tower tractor tulip tunnel turtle valley
velvet village violin walnut whale window winter
"""

KEYS = tuple(_KEYS.split())
VALUES = tuple(_VALUES.split())
