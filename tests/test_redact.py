"""Secrets, people and machines are taken out; versions, paths and numbers stay."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envcheck.redact import Redactor, looks_secret, mask_secrets, mask_values, this_machine, tidy

ALICE = Redactor(user="alice", hosts=["gpu-box7.lab.example.com"], homes=["/home/alice"])

SECRET = "Zq7vXw9Lk2Rt5Yb8Nm3P"  # noqa: S105 - planted


@pytest.mark.parametrize(
    "text",
    [
        f"https://bob:{SECRET}@index.example.com/simple",
        f"https://{SECRET}@index.example.com/simple",
        f"http://bob:{SECRET}/{SECRET}@proxy:3128",
        f"https://bob:p@{SECRET}@proxy:3128/",
        f"HF_TOKEN=hf_{SECRET}",
        f"HF_TOKEN={SECRET} python train.py",
        f"export AWS_SECRET_ACCESS_KEY='{SECRET} {SECRET}'",
        f"PATH=/bin\x00DB_PASSWORD={SECRET} {SECRET}\x00HOME=/",
        f"Authorization: Bearer {SECRET}",
        f"-H 'authorization: Basic {SECRET}='",
        f"curl failed with Bearer {SECRET}",
        json.dumps({"api_key": f"{SECRET} and more", "user": "x"}),
        json.dumps(json.dumps({"token": SECRET})),
        f"?access_token={SECRET}&page=2",
        f"machine pypi.example.com login bob password {SECRET}",
        f"remote: hf_{SECRET} was refused",
        f"ghp_{SECRET}{SECRET}",
        f"sk-proj-{SECRET}{SECRET}",
        "AKIAABCDEFGHIJKLMNOP",
        f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----",
        f"--build-arg WANDB_API_KEY={SECRET}",
        f"wandb_api_key: {SECRET}",
    ],
)
def test_a_secret_never_passes_whatever_it_stands_in(text):
    for masked in (mask_secrets(text), ALICE(text)):
        assert SECRET not in masked
        assert "AKIA" not in masked
        assert "***" in masked
        assert mask_secrets(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "git+ssh://git@github.com/pytorch/vision",
        "http://localhost:8888/tree@2x",
        "TOKENIZERS_PARALLELISM=false max_tokens=512 author=me",
        "PWD=/work OLDPWD=/tmp",
        "nvidia-cublas-cu12 12.4.5.8",
        "nvidia-curand-cu12 (==10.3.5.147)",
        '{"name": "nvidia-curand-cu12", "version": "10.3.5.147"}',
        "libcudnn.so.8.9.7.29",
        "nvidia_cudnn_cu12-9.1.0.70.dist-info",
        "Version: 8.9.7.29",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19",
        "Linux 6.8.0-45-generic #45~22.04.1",
        "00000000:01:00.0 0000:81:00.0 12:34:56 c10::add std::abs dead::beef",
        "GPU-5ef1e1b2-1d0f-4b6e-a8f1-1c3f3a1c9a11",
        "listening on 127.0.0.1 and ::1 and 0.0.0.0",
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "max 100000",
    ],
)
def test_what_a_diagnosis_rests_on_stays(text):
    assert ALICE(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/alice/.venv/bin/python", "/home/user/.venv/bin/python"),
        ("/home/alice2/x and /home/bob/y", "/home/user/x and /home/user/y"),
        ("C:\\Users\\John Smith\\venv", "C:\\Users\\user\\venv"),
        ("C:\\\\Users\\\\John\\\\venv", "C:\\\\Users\\\\user\\\\venv"),
        ("/Users/ann/Library/Caches", "/Users/user/Library/Caches"),
        ("alice@gpu-box7:~$ id", "user@host:~$ id"),
        ("uid=1000(alice) on gpu-box7.lab.example.com", "uid=1000(user) on host"),
        ("malice and alicex", "malice and alicex"),
        ("MASTER_ADDR=10.20.30.40", "MASTER_ADDR=192.0.2.1"),
        ("connect to 10.20.30.40:29500 failed", "connect to 192.0.2.1:29500 failed"),
        ("NCCL INFO NET/Socket : Using [0]eth0:10.1.2.3<0>", "NCCL INFO NET/Socket : Using [0]eth0:192.0.2.1<0>"),
        ("inet 10.1.2.3/24", "inet 192.0.2.1/24"),
        ("fe80::1ff:fe23:4567:890a%eth2", "2001:db8::1"),
        ("link/ether aa:bb:cc:dd:ee:ff", "link/ether 00:00:5e:00:53:01"),
        ("Author-email: Some One <some.one@corp.example.net>", "Author-email: Some One <user@example.org>"),
        (" - nfs4 filer7:/export/home rw,addr=10.1.1.1", " - nfs4 server:/export rw,addr=192.0.2.1"),
    ],
)
def test_people_machines_and_addresses_get_stand_ins(text, expected):
    assert ALICE(text) == expected
    assert ALICE(expected) == expected


def test_names_that_everybody_has_are_kept_because_they_mean_something_else():
    redact = Redactor(user="ubuntu", hosts=["localhost"], homes=["/home/ubuntu"])
    assert redact("ID=ubuntu in /home/ubuntu/x on localhost") == "ID=ubuntu in /home/user/x on localhost"
    root = Redactor(user="root", hosts=["vm"], homes=["/root"])
    assert root("root has /root on vm") == "root has /root on vm"


def test_a_home_that_is_not_under_home_is_found_by_its_path():
    redact = Redactor(user="eve", hosts=[], homes=["/nfs/people/eve"])
    assert redact("/nfs/people/eve/.cache") == "/home/user/.cache"


def test_a_value_is_masked_by_the_name_that_it_has():
    seen = ALICE({"getenv HF_TOKEN": "short", "variables": {"MY_API_KEY": "short", "PATH": "/home/alice/bin"}})
    assert seen == {"getenv HF_TOKEN": "***", "variables": {"MY_API_KEY": "***", "PATH": "/home/user/bin"}}
    assert ALICE({"version": "12.4.5.8", "address": "12.4.5.8"}) == {"version": "12.4.5.8", "address": "192.0.2.1"}


def test_numbers_and_the_shape_of_an_answer_are_kept():
    answer = {"read /home/alice/x": {"outcome": "ok", "size": 3, "list": [1, None, True, ("a", 2.5)]}}
    assert ALICE(answer) == {"read /home/user/x": {"outcome": "ok", "size": 3, "list": [1, None, True, ["a", 2.5]]}}


def test_variables_are_masked_by_name_and_by_what_they_hold():
    masked = mask_values(
        {"WANDB_API_KEY": "x", "PIP_INDEX_URL": "https://u:p@host/", "OMP_NUM_THREADS": "4", "E_KEY": ""}
    )
    assert masked == {
        "WANDB_API_KEY": "***",
        "PIP_INDEX_URL": "https://***@host/",
        "OMP_NUM_THREADS": "4",
        "E_KEY": "",
    }


def test_names_that_only_sound_secret_are_not_masked():
    assert looks_secret("HF_TOKEN")
    assert looks_secret("AWS_SECRET_ACCESS_KEY")
    assert not looks_secret("TOKENIZERS_PARALLELISM")
    assert not looks_secret("PYTHONHASHSEED")
    assert not looks_secret("CUDA_VISIBLE_DEVICES")
    assert not looks_secret("AUTHOR")


def test_commands_stay_runnable_where_the_home_folder_is_shortened():
    shown = tidy({"commands": ["/home/alice/.venv/bin/python -m pip", "ls /home/alice2 /home/alice"]}, "/home/alice")
    assert shown == {"commands": ["~/.venv/bin/python -m pip", "ls /home/alice2 ~"]}
    assert tidy("/tmp/x", "/") == "/tmp/x"


def test_this_machine_can_be_asked_whatever_its_account_is():
    assert callable(this_machine())


PIECES = (
    "/home/alice/x|alice|gpu-box7|10.1.2.3|10.1.2.3:80|a@b.com|12.4.5.8|version |=| |\n|HF_TOKEN=|token: |\"|'|\\|://|@|:"
    "|aa:bb:cc:dd:ee:ff|fe80::1|\x00|password |login |Bearer |C:\\Users\\bob\\x|é|[red]|***|hf_"
    + "a" * 30
    + "|"
    + SECRET
)
words = st.sampled_from(PIECES.split("|"))


@settings(max_examples=300, deadline=None)
@given(st.lists(words, max_size=12).map("".join) | st.text(max_size=80))
def test_redacting_twice_is_redacting_once(text):
    once = ALICE(text)
    assert ALICE(once) == once


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["HF_TOKEN", "WANDB_API_KEY", "DB_PASSWORD"]))
def test_a_planted_token_never_survives_its_surroundings(before, after, name):
    planted = f"{before}\n{name}={SECRET} {after}\nhttps://me:{SECRET}@host/\n"
    assert SECRET not in ALICE(planted)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_the_users_name_and_home_never_survive_their_surroundings(before, after):
    redacted = ALICE(f"{before} /home/alice/work {after} alice@gpu-box7 {before}")
    for trace in ("/home/alice", "alice@", "gpu-box7"):
        assert trace not in redacted


def test_redacting_takes_time_in_proportion_to_the_text():
    for piece in ("A_" * 50_000, "a@" * 50_000, "1." * 50_000, "://" * 30_000, "token" * 20_000, "fe80:" * 20_000):
        ALICE(piece)
