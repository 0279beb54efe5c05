"""Thrift's compact protocol, as far as Parquet's footers use it: bytes into plain values."""

from __future__ import annotations

import struct
from typing import Any


class Compact:
    """Reads values one after the other. at: how far it is."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def struct(self) -> dict[int, Any]:
        fields, number = dict[int, Any](), 0
        while head := self.take(1)[0]:
            delta, kind = head >> 4, head & 15
            number = number + delta if delta else self.zigzag()
            fields[number] = kind == 1 if kind in (1, 2) else self.value(kind)
        return fields

    def value(self, kind: int) -> Any:
        if kind in (4, 5, 6):
            return self.zigzag()
        if kind == 8:
            return self.take(self.varint())
        if kind in (9, 10):
            head = self.take(1)[0]
            size = head >> 4 if head >> 4 < 15 else self.varint()
            if size > len(self.data):
                raise ValueError("a list is longer than the file's footer")
            return [self.value(head & 15) for _ in range(size)]
        if kind == 12:
            return self.struct()
        if kind in (1, 2, 3):  # a bool in a list, a byte
            return self.take(1)[0]
        if kind == 7:
            return struct.unpack("<d", self.take(8))[0]
        raise ValueError(f"its footer has a field of the unknown type {kind}")

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    def zigzag(self) -> int:
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def take(self, length: int) -> bytes:
        data = self.data[self.at : self.at + length]
        if len(data) != length:
            raise ValueError("it ends too early")
        self.at += length
        return data
