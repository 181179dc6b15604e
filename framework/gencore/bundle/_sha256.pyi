from typing import TypeAlias

AVAILABLE: bool

_Bytes: TypeAlias = bytes | bytearray | memoryview

def two(prefix: bytes, first: _Bytes, second: _Bytes, /) -> tuple[bytes, bytes]: ...
