from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from alerting.exchanges.account import AccountSettings
from alerting.exchanges.coinswitch.keys import check_key_pair, secret_key_problem, sign
from alerting.exchanges.coinswitch.pages import Endpoint
from alerting.redaction import Secret
from alerting.sandbox.exchange import DEMO_API_KEY, DEMO_SECRET_KEY

SEED = DEMO_SECRET_KEY
WALLET = Endpoint.WALLET_BALANCE.value

FUTURES = "/trade/api/v2/futures"
VECTORS = [
    pytest.param(
        "GET",
        f"{FUTURES}/wallet_balance",
        1700000000000,
        "04e7863321f70d09ca883a1b5897719721f6c8da772aaedecbbcb1b4e73c90a92a56a4578616a840eb2256a1c39fd78de796873e1fe3a606e4e1b2693c612606",
        id="1 wallet",
    ),
    pytest.param(
        "GET",
        f"{FUTURES}/wallet_balance",
        1700000000001,
        "9fe7826ac86852fadf0d89997959d40cbdadffdb27d1e7560b97939f112ed064ca075e2da9b0c8b6fa5ba1d9f56aefb96fc4d79945cf894ff01ba269d65d8a0a",
        id="2 a millisecond later",
    ),
    pytest.param(
        "GET",
        f"{FUTURES}/positions?exchange=EXCHANGE_2&symbol=BTCUSDT",
        1700000000000,
        "445f7d9ebcbd2f77695340ba85363d8b1bb3c3d8375373a4977ff11264df20c88aed6ea537df07e5b126bb45cea6643a955334d7599154bf17768b6d057c3a0a",
        id="3 two parameters",
    ),
    pytest.param(
        "GET",
        f"{FUTURES}/positions?exchange=EXCHANGE_2",
        1700000000000,
        "c9f42ef17bfaf8e262cfa80eb7b1a65068c94dc96fc5d51e6c4e8b6561e2a1b523fffd9f0db6febd042806e24a1be832eeb66a5944508623cdf315c2cb26e602",
        id="4 one parameter",
    ),
    pytest.param(
        "GET",
        f"{FUTURES}/transactions?exchange=EXCHANGE_2&type=funding+fee&limit=50",
        1700000000000,
        "a84ba7b3b3aebc00a1d20b3ae62c5d1cc9fcff6ba2cc81e4c9e447157043da7b09ddfb44bf80cf294c874d2be8b174447d5582b6bd8d86df375eee197bfa740c",
        id="5 signed decoded",
    ),
    pytest.param(
        "POST",
        f"{FUTURES}/orders/open",
        1700000000000,
        "f2decf2e214dd8fc4aaab610a1677455979c26ca4fc52cd6f5146fa503347185118111d4a154606be2352517bb2226cb77b141cc658c7070650507d559076902",
        id="6 post",
    ),
    pytest.param(
        "GET",
        "/trade/api/v2/time",
        1719905777483,
        "09133e3036926a21f230bc7631187c50990156514717db47708c2d06f13c13c5e7092311602af7aafeffb80884f296d5a2ce3de05a384a68be879fa4ecdd7a04",
        id="7 documented message",
    ),
]


@pytest.mark.parametrize(("method", "path", "epoch", "signature"), VECTORS)
def test_signature_vectors(method, path, epoch, signature):
    assert sign(SEED, method, path, epoch) == signature
    assert sign((SEED + DEMO_API_KEY).upper(), method.lower(), path, epoch) == signature


def test_signature_is_not_the_legacy_one():
    legacy = "d1b790e7972c6cc7044df36e6194fd0925160747a11d4bfefed312fabd5011f10c253a4b95b55f7db7df83936d838f33688e5a9161dfcccccb930a36e9edd907"
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEED))
    assert key.sign(f"GET{WALLET}{{}}".encode()).hex() == legacy
    assert sign(SEED, "GET", WALLET, 1700000000000) != legacy


def account(*, api_key=DEMO_API_KEY, secret_key=SEED):
    return AccountSettings(name="main", api_key=Secret(api_key), secret_key=Secret(secret_key))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param(SEED, None, id="64 characters"),
        pytest.param(SEED.upper(), None, id="upper case"),
        pytest.param(SEED + DEMO_API_KEY, None, id="128 with the public half"),
        pytest.param(SEED + DEMO_API_KEY.upper(), None, id="128 mixed case"),
        pytest.param(
            SEED + "00" * 32, "second half is not the public key", id="128 with something else"
        ),
        pytest.param(SEED[:-1], "it has 63", id="63"),
        pytest.param(SEED + "0", "it has 65", id="65"),
        pytest.param("", "64 hexadecimal characters", id="empty"),
        pytest.param("z" * 64, "64 hexadecimal characters", id="no hex"),
        pytest.param(SEED[:32] + " " + SEED[33:], "64 hexadecimal characters", id="blank inside"),
        pytest.param(SEED + "\n", "64 hexadecimal characters", id="newline"),
        pytest.param("１" * 64, "64 hexadecimal characters", id="full-width"),
    ],
)
def test_secret_key_problem(text, problem):
    found = secret_key_problem(Secret(text))
    if problem is None:
        assert found is None
    else:
        assert problem in found
        assert not text or text not in found


def test_key_pair_is_checked_offline():
    assert check_key_pair(account()) is None
    assert check_key_pair(account(api_key=DEMO_API_KEY.upper())) is None
    assert check_key_pair(account(secret_key="broken")) is None
    warning = check_key_pair(account(secret_key="11" * 32))
    assert "account main: api_key is not the public half of secret_key" in warning
    assert "11" * 32 not in warning
    assert DEMO_API_KEY not in warning
