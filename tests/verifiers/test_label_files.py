"""Labels on disk are data: bounded, checked, and never unpickled."""

import io
import json
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest

from rlsearch.runs.directory import write_json
from rlsearch.tasks.game24 import Game24
from rlsearch.verifiers.label_files import (
    LabelFolder,
    abstract_labels,
    describe_task,
    part_path,
    read_about,
    read_part,
    write_part,
)
from rlsearch.verifiers.labels import StepLabels

TASK = Game24(num_held_out=3)
CONFIG = TASK


def labels(number):
    return StepLabels(*(np.zeros(x.shape, x.dtype) for x in abstract_labels(number, TASK)))


@pytest.fixture
def folder(tmp_path):
    about = {**describe_task(CONFIG, TASK), "parts": 2, "solutions": 7, "solutions_of_a_part": 4}
    write_json(tmp_path / "labels.json", about)
    for number, size in enumerate((4, 3)):
        write_part(part_path(tmp_path, number), labels(size))
    return tmp_path


def test_labels_come_back_and_an_empty_part_too(folder):
    assert len(LabelFolder(folder, CONFIG, TASK).all().prompts) == 7
    path = part_path(folder, 2)
    write_part(path, labels(0))
    assert len(read_part(path, TASK).prompts) == 0
    columns = {name: np.asfortranarray(x) for name, x in labels(4)._asdict().items()}
    np.savez(path, **columns)
    np.testing.assert_array_equal(read_part(path, TASK).prompts, labels(4).prompts)


class Hostile:
    def __reduce__(self):
        return (print, ("unpickled",))


def header(text, version=b"\x01\x00"):
    text = text if isinstance(text, bytes) else text.encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


def array(shape="(4,)", descr="'<i4'", data=b"\0" * 16):
    return header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n") + data


MEMBERS = {
    "pickle": pickle.dumps(Hostile()),
    "objects": array(descr="'|O'", data=pickle.dumps([Hostile()] * 4)),
    "huge shape": array(shape=f"({2**62}, {2**62})"),
    "large shape": array(shape=f"({2**40},)"),
    "negative shape": array(shape="(-4,)"),
    "no numbers": array(shape="('a',)"),
    "no tuple": array(shape="4"),
    "odd dtype": array(descr="'<q99'"),
    "no bytes": array(descr="'V0'", shape="(2**40,)", data=b""),
    "empty type": array(descr="'S0'", data=b""),
    "a record": array(descr="[('a', '<i4', (1000, 1000))]"),
    "deep": header("(" * 9000 + "\n"),
    "signs": header("-" * 9000 + "1\n"),
    "code": header("__import__('os').system('x')\n"),
    "quotes": header("'''\n"),
    "binary": header(b"\xff" * 100),
    "version": header("{}", b"\x02\x00"),
    "no array": b"PK",
    "nothing": b"",
    "too short": array(data=b"\0" * 15),
    "too long": array(data=b"\0" * 17),
}


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("of", ["generations", "prompts"])
def test_an_array_that_is_not_what_it_says_is_refused_by_the_files_name(folder, name, of, capsys):
    path = part_path(folder, 0)
    good = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            new.writestr(member, MEMBERS[name] if member == f"{of}.npy" else old.read(member))
    tracemalloc.start()
    with pytest.raises(ValueError, match="000000.npz is (damaged|no part of labels)") as caught:
        read_part(path, TASK)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize("packing", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_what_is_packed_is_not_unpacked(folder, packing):
    path = part_path(folder, 0)
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name in StepLabels._fields:
            archive.writestr(f"{name}.npy", array(shape=f"({2**18},)", data=b"\0" * 2**20))
    with pytest.raises(ValueError, match="000000.npz is damaged: .*is packed"):
        read_part(path, TASK)


def test_good_labels_that_are_packed_are_not_unpacked_either(folder):
    path = part_path(folder, 0)
    good = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.namelist():
            new.writestr(member, old.read(member), zipfile.ZIP_DEFLATED)
        new.writestr("larger than they are", b"\0" * 2**15)
    with pytest.raises(ValueError, match="000000.npz is damaged: .*is packed"):
        read_part(path, TASK)


def test_a_part_cut_short_anywhere_is_refused(folder):
    path = part_path(folder, 0)
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="000000.npz is damaged"):
            read_part(path, TASK)
    random = np.random.default_rng(0)
    for place in random.integers(0, len(whole), 200):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_part(path, TASK)
        except ValueError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("field", ["solutions", "solutions_of_a_part"])
@pytest.mark.parametrize("value", [None, True, "7", [], 0, -1, 1.5, 2**26 + 1, 10**30, "x" * 9999])
def test_numbers_of_labels_json_are_checked(folder, field, value):
    about = read_about(folder) or {}
    write_json(folder / "labels.json", about | {field: value})
    with pytest.raises(ValueError, match=f"{field} is .* whole number from 1 to") as caught:
        LabelFolder(folder, CONFIG, TASK)
    assert len(str(caught.value)) < 1000


def test_no_room_is_made_for_solutions_that_are_not_there(folder):
    about = read_about(folder) or {}
    for change, said in (
        (
            {"solutions": 2**26, "solutions_of_a_part": 2**26},
            "000000.npz is damaged: it has 4 solutions",
        ),
        ({"solutions": 2**26}, "there is no .*16777215.npz"),
    ):
        write_json(folder / "labels.json", about | change)
        with pytest.raises((ValueError, FileNotFoundError), match=said):
            LabelFolder(folder, CONFIG, TASK)


@pytest.mark.parametrize("text", ["[1]", "3", "null", '"x"', "{", "[" * 10_000, "\x00"])
def test_a_description_that_is_none_is_refused(folder, text):
    (folder / "labels.json").write_text(text)
    with pytest.raises(ValueError, match="labels.json is damaged"):
        LabelFolder(folder, CONFIG, TASK)
    (folder / "labels.json").write_text(json.dumps({"task": 3}))
    with pytest.raises(ValueError, match="they are of another task"):
        LabelFolder(folder, CONFIG, TASK)
