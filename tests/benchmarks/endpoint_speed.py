"""Measure how many requests the client of endpoints answers, of those that its concurrency allows.

    python tests/benchmarks/endpoint_speed.py [--requests 1600] [--seconds 0.05] [--concurrency 4 16]

The server is a process of its own that answers every request after the same time.
"""

import argparse
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from endpoint import Endpoint, Reply

from mothertongue.endpoints.answers import Answers
from mothertongue.endpoints.client import Client
from mothertongue.endpoints.protocol import Request
from mothertongue.endpoints.settings import EndpointSettings

TURNS = 3


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1600, help="requests a turn (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.05, help="time of an answer (default: %(default)s)")
    parser.add_argument("--concurrency", type=int, nargs="+", default=[4, 16], help="requests at once (default: 4 16)")
    return parser.parse_args()


def serve(seconds: float, ports: Any) -> None:
    """Answer requests until the process is ended."""
    with Endpoint(lambda body, number: Reply("yes", after=seconds)) as server:
        ports.put(server.port)
        time.sleep(3600)


def main() -> None:
    arguments = parse_arguments()
    ports: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(arguments.seconds, ports), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ports.get()}/v1"
    print(f"{'at once':>8}{'turn':>6}{'requests/s':>12}{'of what is allowed':>20}{'CPU ms a request':>18}")
    for at_once in arguments.concurrency:
        settings = EndpointSettings(endpoint_url=url, endpoint_concurrency=at_once)
        for turn in range(TURNS):
            requests = [
                Request(({"role": "user", "content": f"{turn} {number}"},), 20) for number in range(arguments.requests)
            ]
            began, cpu = time.monotonic(), time.process_time()
            answered = len(dict(Client(settings, "model", Answers(None)).stream(requests)))
            seconds, cpu = time.monotonic() - began, time.process_time() - cpu
            share = answered * arguments.seconds / at_once / seconds
            print(f"{at_once:8}{turn + 1:6}{answered / seconds:12.0f}{share:20.2f}{1000 * cpu / answered:18.2f}")
    server.terminate()


if __name__ == "__main__":
    main()
