"""`check`: all that is wrong, at once."""

from __future__ import annotations

import re


def test_check_counts(desk):
    assert desk.run("check") == (0, "1 rule, 2 receivers, 2 routes\n", "")


def test_check_prints_all_errors_on_stdout_and_exits_1(desk):
    desk.write(more="    thresold: 3\n    per: walet\n")
    code, out, _ = desk.run("check")
    assert code == 1
    assert len(out.splitlines()) >= 2
    assert all(re.match(r".*rules\.yaml:\d+:\d+: rules\.0", line) for line in out.splitlines())


def test_check_finds_a_bad_annotation_and_a_bad_receiver(desk):
    desk.write(more="    annotations: {summary: '{{ valeu }}'}\n")
    code, out, _ = desk.run("check", PHONE_URL="nosuch://token123456")
    assert code == 1
    assert re.search(r"rules\.yaml:23:28: rules\.0\.annotations\.summary: .*valeu", out)
    assert re.search(r"rules\.yaml:10:16: receivers\.phone\.url: ", out)
    assert "token123456" not in out


def test_check_warns_if_the_keys_do_not_belong_together(desk):
    code, _, err = desk.run("check", SECRET_KEY="ab" * 32)
    assert code == 0
    assert "accounts.main" in err
    assert "warning" in err


def test_check_warns_of_what_is_wrong_on_this_machine(desk):
    given = {"SSL_CERT_FILE": "/nowhere/ca.pem", "REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}
    code, out, err = desk.run("check", HTTPS_PROXY="htp://robot:hunter22@h", **given)
    assert (code, out) == (0, "1 rule, 2 receivers, 2 routes\n")
    bundle, proxy = err.splitlines()
    assert bundle == (
        "this machine: warning: the CA bundle SSL_CERT_FILE=/nowhere/ca.pem does not exist"
    )
    assert proxy.startswith("this machine: warning: the proxy HTTPS_PROXY=htp://***@h: its scheme")
