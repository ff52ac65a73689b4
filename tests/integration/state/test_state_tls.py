"""A rediss:// URL: TLS all the way, and a server that can't prove who it is gets nothing."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from state.errors import StoreUnavailable
from state.store import Store, StoreSettings


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert, private


@asynccontextmanager
async def tls_in_front_of(socket: str, cert: Path, key: Path) -> AsyncIterator[int]:
    """A port that speaks TLS and hands every byte to the Redis behind the Unix socket, as a TLS terminator does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_unix_connection(socket)
        await asyncio.gather(copy(reader, behind_writer), copy(behind_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_the_store_works_over_tls_and_refuses_an_unknown_certificate(tmp_path: Path, redis_server: str):
    cert, key = certificate(tmp_path)
    async with tls_in_front_of(redis_server.removeprefix("unix://"), cert, key) as port:
        settings = StoreSettings(key_prefix="tls")
        store = Store.from_url(f"rediss://127.0.0.1:{port}?ssl_ca_certs={cert}", settings)
        now = dt.datetime.now(dt.UTC)
        begun = await store.begin(user_id="mina", session_id="s", now=now, today=now.date(), embedder="e")
        assert begun.lease is not None
        await store.release(begun.lease)
        await store.close()

        stranger = Store.from_url(f"rediss://127.0.0.1:{port}", settings)
        with pytest.raises(StoreUnavailable):
            await stranger.ping()
        await stranger.close()
