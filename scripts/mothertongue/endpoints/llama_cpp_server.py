"""Program: serve a GGUF model by llama.cpp's server, of the package xllamacpp, until the process ends.

Its arguments are those of llama.cpp's own program llama-server. The key is in the environment variable LLAMA_API_KEY.
"""

import argparse
import os
import threading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--lora")
    parser.add_argument("--alias", required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ctx-size", type=int, required=True)
    parser.add_argument("--parallel", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cache-ram", type=int)
    arguments = parser.parse_args()

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = arguments.model, [arguments.alias]
    if arguments.lora:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(arguments.lora, 1.0)]
    if arguments.cache_ram is not None:
        params.cache_ram_mib = arguments.cache_ram
    params.hostnames, params.port = [arguments.host], arguments.port
    params.n_ctx, params.n_parallel = arguments.ctx_size, arguments.parallel
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    params.api_keys = [os.environ["LLAMA_API_KEY"]]
    params.use_jinja, params.warmup, params.ui = True, False, False
    server = xllamacpp.Server(params)
    print(f"listens at {server.listening_address}", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
