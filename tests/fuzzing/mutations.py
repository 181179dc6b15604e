"""The mutations: of bytes, JSON, tar headers, frames, tables and ELF files."""

import copy
import tarfile

import attrs
from tests.fuzzing import bundles, cores
from tests.fuzzing.bundles import BLOCK, TOP

FIELDS = {
    "name": (0, 100),
    "mode": (100, 108),
    "uid": (108, 116),
    "gid": (116, 124),
    "size": (124, 136),
    "mtime": (136, 148),
    "type": (156, 157),
    "linkname": (157, 257),
    "magic": (257, 263),
    "version": (263, 265),
    "uname": (265, 297),
    "gname": (297, 329),
    "devmajor": (329, 337),
    "devminor": (337, 345),
    "prefix": (345, 500),
    "padding": (500, 512),
}
NAMES = (
    *("../x", "./x", "x/./y", "x//y", "x/", "/tmp/gencore-fuzz-outside", "", ".", "..", "x\0y"),
    *("../../../x", "x" * 99, "x" * 100, "x" * 255, "x" * 256, "d/" * 127 + "f", "d/" * 200 + "f"),
    *("\u00e4", "\udce4", "a\\b", "a\nb", "a b", "-x", "core/x", "core", "a (deleted)", "\u202ex"),
    *("manifest.json", "A", "a", "x`40+2`", "$(x)", "usr/lib/" + "n" * 240),
)
VALUES = (
    *(b"", b"\0", b" ", b"x", b"-1", b"+1", b"0", b"00000000000", b"7777777", b"77777777777"),
    *(b" 0000644", b"0000644 ", b"0o644\0", b"8", b"\x80" + bytes(10) + b"\1", b"\xff" * 12),
    *(b"0000 44\0", b"644\0x", b"777777777777", b"1", b"../x", b"/etc/passwd", b"\xe4", b"ustar "),
)
TYPES = b"01234567xgLKSNDMVA\0"
RECORDS = (
    *((b"path", b"x"), (b"path", b""), (b"path", b"x/"), (b"path", b"./x"), (b"path", b"a\0b")),
    *((b"size", b"0"), (b"size", b"1"), (b"size", b"-1"), (b"size", b"00512"), (b"size", b"1e3")),
    *((b"size", b"9" * 25), (b"linkpath", b"/etc/passwd"), (b"hdrcharset", b"BINARY")),
    *((b"hdrcharset", b"ISO-IR 10646 2000 UTF-8"), (b"GNU.sparse.map", b"0,1")),
    *((b"GNU.sparse.name", b"y"), (b"GNU.sparse.major", b"1"), (b"GNU.sparse.realsize", b"9")),
    *((b"mtime", b"1.5"), (b"comment", b"x" * 600), (b"path", b"\xe4"), (b"SCHILY.xattr.a", b"b")),
)
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 0xFF, 0xFFFF, 1 << 16, 1 << 21, (1 << 31) - 1, 1 << 31, 1 << 32)
LARGE = ((1 << 32) - 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 8, 1 << 40, 64, 56)
ODD = (
    *(None, True, False, 0, 1, -1, 1.5, 1 << 63, -(1 << 63), 1e308, float("inf"), float("nan")),
    *(bundles.DIGITS, "", "x", "\x1b[2J\r\n", "\ud800", "\udce4", "\u202e", "x" * 5000, "../x"),
    *([], {}, [[]], {"": {}}, [None] * 1000, [{}] * 300, {"name": "x"}, ["core"] * 3),
)


def blind(rng, data):
    """Change bytes of which nothing is known."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at, other = rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)
        length = rng.choice((1, 1, 2, 4, 8, 64, 512))
        match rng.randrange(7):
            case 0 | 1 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 2:
                data[at : at + length] = rng.randbytes(length)
            case 3:
                data[at : at + length] = rng.choice((b"\0", b"\xff", b"9", b"[")) * length
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[other : other + length]
            case 6 if rng.random() < 0.3:
                del data[at:]
    return bytes(data)


def json_value(rng, value):
    """Change one value of parsed JSON, or a key, or the number of rows."""
    value = copy.deepcopy(value)
    inside = value
    while isinstance(inside, dict | list) and inside:
        key = rng.choice(list(inside) if isinstance(inside, dict) else range(len(inside)))
        if isinstance(inside[key], dict | list) and inside[key] and rng.random() < 0.8:
            inside = inside[key]
            continue
        _change(rng, inside, key)
        return value
    return value


def _change(rng, inside, key):
    match rng.randrange(6):
        case 0:
            del inside[key]
        case 1 if isinstance(inside, list):
            inside += [inside[key]] * rng.choice((1, 10, 500))
        case 2 if isinstance(inside, dict):
            inside[rng.choice(("", "x", "\x1b", "\ud800", "size", "path"))] = inside.pop(key)
        case 3 if isinstance(inside[key], int):
            inside[key] += rng.choice((-512, -1, 1, 512, 1 << 20))
        case 4:
            deep = rng.choice((50, 99, 101, 5000))
            for _ in range(min(deep, 900)):
                inside[key] = [inside[key]]
        case _:
            inside[key] = copy.deepcopy(rng.choice(ODD))


def elf(rng, data):
    """Change numbers in the headers, notes and tables of an ELF file."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, length = rng.choice(cores.fields(bytes(data)))
        if at + length > len(data):
            continue
        near = int.from_bytes(data[at : at + length], "little") + rng.choice((-8, -4, -1, 1, 4, 8))
        number = rng.choice((near, near, len(data), *NUMBERS, *LARGE)) % (1 << 8 * length)
        data[at : at + length] = number.to_bytes(length, "little")
    return bytes(data)


def tar_header(rng, head):
    """Change a field of a header, with its check sum right again, as a rule."""
    at = rng.choice(range(0, len(head), BLOCK)) if rng.random() < 0.2 else len(head) - BLOCK
    block = bytearray(head[at : at + BLOCK])
    begin, end = FIELDS[rng.choice(list(FIELDS))]
    value = rng.choice(VALUES)
    if end - begin == 1:
        value = bytes([rng.choice(TYPES)])
    elif begin in {0, 345}:
        value = rng.choice((value, TOP.encode(), f"{TOP}/".encode(), _bytes(rng.choice(NAMES))))
    block[begin:end] = value[: end - begin].ljust(end - begin, rng.choice((b"\0", b"\0", b" ")))
    whole = bundles.with_checksum(block) if rng.random() < 0.9 else bytes(block)
    return head[:at] + whole + head[at + BLOCK :]


def pax_header(rng, head):
    """Put a pax header before it, of one or more records, or of nonsense."""
    records = b""
    for key, value in rng.choices(RECORDS, k=rng.choice((1, 1, 2, 3))):
        value = rng.choice((value, f"{TOP}/".encode() + value)) if key == b"path" else value  # noqa: PLW2901
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + len(str(len(body) + 2))
        records += str(length + rng.choice((0, 0, 0, 0, 0, 1, -1))).encode() + body
    info = tarfile.TarInfo("pax")
    info.type, info.size = rng.choice((b"x", b"x", b"x", b"x", b"g", b"X")), len(records)
    if rng.random() < 0.1:
        info.type = rng.choice((b"L", b"K"))
    form = rng.choice((tarfile.USTAR_FORMAT, tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT))
    return info.tobuf(form) + records + bytes(-len(records) % BLOCK) + head


def header(rng, head):
    """Change a header, or put a pax header before it."""
    return rng.choice((tar_header, pax_header))(rng, head)


def _bytes(name):
    return name.encode("utf-8", "surrogatepass")


def content(rng, file):
    """Change the bytes of a file in a bundle, as its name suggests."""
    if file.row and file.row.get("path") == "core":
        return elf(rng, file.data)
    if file.row and file.row.get("path") == "manifest.json":
        return manifest(rng, file.data)
    return blind(rng, file.data)


def manifest(rng, data):
    """Change the values of a manifest, or its text."""
    import json

    if rng.random() < 0.2:
        return blind(rng, data)
    value = json.loads(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        value = json_value(rng, value)
    return bundles.as_json(value)


def bundle(rng, data):
    """Change parts of a bundle; its table agrees with them, unless it is the change."""
    whole = bundles.take_apart(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        rng.choice(PARTS)(rng, whole)
    data = whole.build()
    return blind(rng, data) if rng.random() < 0.05 else data


def _file(rng, whole):
    return rng.choice(whole.files) if whole.files else bundles.make_file("x", b"")


def _change_header(rng, whole):
    file = _file(rng, whole)
    file.head = tar_header(rng, file.head)


def _add_pax(rng, whole):
    file = _file(rng, whole)
    file.head = pax_header(rng, file.head)


def _rename(rng, whole):
    file, name = _file(rng, whole), rng.choice(NAMES)
    file.head = bundles.header(name, len(file.data))
    if file.row is not None:
        file.row["path"] = name


def _resize(rng, whole):
    file = _file(rng, whole)
    if file.row is not None:
        file.data = content(rng, file)
        file.head = bundles.header(str(file.row.get("path")), len(file.data))
        file.row["size"] = len(file.data)


def _change_content(rng, whole):
    file = _file(rng, whole)
    file.data = content(rng, file)[: len(file.data)].ljust(len(file.data), b"\0")


def _change_row(rng, whole):
    file = _file(rng, whole)
    if file.row:
        file.row = json_value(rng, {**whole.places(file, 0), **file.row})


def _change_offset(rng, whole):
    file = _file(rng, whole)
    file.at = rng.choice((*NUMBERS, 10, 100, -1, 1 << 40, rng.randrange(-4000, 4000)))


def _change_table(rng, whole):
    whole.table = json_value(rng, whole.table)


def _regroup(rng, whole):
    file = _file(rng, whole)
    file.pieces, file.level = rng.choice((1, 2, 3, 50)), rng.choice((0, 1, 9))


def _shuffle(rng, whole):
    match rng.randrange(4):
        case 0:
            rng.shuffle(whole.files)
        case 1:
            whole.files.append(copy.deepcopy(_file(rng, whole)))
        case 2:
            whole.files = [file for file in whole.files if rng.random() < 0.7]
        case 3:
            whole.files += [bundles.make_file(f"n{n}", b"") for n in range(rng.choice((1, 300)))]


def _hide(rng, whole):
    frame, skipped = whole.frame, whole.codec.hide
    hidden = frame(bundles.header("hidden") + bytes(rng.choice((0, 512))))
    other = rng.choice(
        (
            *(hidden, skipped(b"XX", hidden), frame(b""), b"\0" * 10),
            *(frame(bytes(BLOCK)), frame(bytes(2 * BLOCK)), b"x", hidden[:-1]),
            *(frame(b"x"), skipped(b"GC", hidden)),
        )
    )
    file = _file(rng, whole)
    place = rng.choice(("before", "after", "between", "gap", "behind"))
    setattr(file if place in {"before", "after"} else whole, place, other)
    if place == "before" and rng.random() < 0.5:
        whole.files.append(attrs.evolve(file, at=0, before=b""))


def _reframe(rng, whole):
    flags = ("checksum_flag", "content_size_flag", "dict_id_flag")
    windows = {"window_log": rng.choice((10, 23, 24, 27))}
    whole.options = rng.choice(({rng.choice(flags): 0}, windows, {"compression_level": -50}))


def _end(rng, whole):
    ends = (b"", bytes(BLOCK), bytes(3 * BLOCK), bytes(20 * BLOCK), b"x" * BLOCK, b"\0" * 1000)
    other = bytes(2 * BLOCK) + bundles.header("second") + bytes(2 * BLOCK)
    whole.end = rng.choice((*ends, other, bytes(BLOCK) + bundles.header("x") + bytes(2 * BLOCK)))


PARTS = (
    *(_change_header, _change_header, _change_header, _add_pax, _add_pax, _rename, _rename),
    *(_resize, _resize, _resize, _change_content, _change_content, _change_row, _change_offset),
    *(_change_table, _regroup, _regroup, _shuffle, _hide, _reframe, _end),
)
