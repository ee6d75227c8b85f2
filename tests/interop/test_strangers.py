"""Our client on a server that is not ours: of the official SDK 1.x."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from mcp import Client, MCPError

from mcp_channels.client import OUTCOME_UNKNOWN, WebSocketConfig, WebSocketTransport
from tests.client.proxy import Proxy
from tests.interop.servers import COMMANDS, ENDING, ROOT, find_port
from tests.interop.transport import PATIENCE

SDK = "mcp==1.30.0"


@pytest.fixture(scope="module")
def library() -> Path:
    """A folder with the SDK 1.x, made once for each environment."""
    path = Path(sys.prefix, "elsewhere", SDK)
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        folder = tempfile.mkdtemp(dir=path.parent)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target"]
        try:
            subprocess.run([*command, folder, SDK], check=True, timeout=280)
        except subprocess.SubprocessError:
            shutil.rmtree(folder)
            pytest.skip(f"{SDK} cannot be installed.")
        os.rename(folder, path)
    return path


@pytest.fixture(scope="module")
def port(library: Path) -> Iterator[int]:
    """A server in another process."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                *COMMANDS["uvicorn"],
                "tests.interop.sdk1:application",
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{library}{os.pathsep}{ROOT}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield find_port(process, log)
        finally:
            process.kill()
            process.wait(ENDING)


@pytest.fixture
async def proxy(port: int) -> AsyncIterator[Proxy]:
    async with Proxy(port) as proxy:
        yield proxy


@asynccontextmanager
async def connect(url: str, mode: str = "auto") -> AsyncIterator[Client]:
    config = WebSocketConfig(url, proxy=None, reconnect_delay=0.05)
    async with (
        asyncio.timeout(2 * PATIENCE),
        Client(WebSocketTransport(config), mode=mode) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_everything_is_as_with_ours(proxy: Proxy, mode: str) -> None:
    told = []

    async def tell(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with connect(proxy.url, mode) as client:
        tools = await client.list_tools()
        added = await client.call_tool("add", {"a": 1, "b": 2})
        await client.call_tool("refund", progress_callback=tell)
        read = await client.read_resource("shop://hours")

        assert client.server_info is not None
        assert client.server_info.name == "sdk 1"
    assert [tool.name for tool in tools.tools] == ["add", "refund"]
    assert added.structured_content == {"result": 3}
    assert told == [(1, 2, "counting")]
    assert read.contents[0].text == "From nine to five."


async def test_connection_comes_back(proxy: Proxy) -> None:
    async with connect(proxy.url) as client:
        await client.list_tools()
        for number in range(5):
            calling = asyncio.create_task(
                client.call_tool("add", {"a": number, "b": 1})
            )
            refunding = asyncio.create_task(client.call_tool("refund"))
            await proxy.cut_within(0)
            added = await calling
            try:
                await refunding
            except MCPError as exc:
                assert exc.code == OUTCOME_UNKNOWN

            assert added.content[0].text == f"{number + 1}"
    assert proxy.connections == 6
