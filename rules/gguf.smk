"""Export for llama.cpp and Ollama: GGUF files of the merged model and of the adapter alone."""


rule check_conversion:
    input:
        script=own("scripts/check_conversion.py"),
        library=library("check_conversion"),
        base_model=adapters.base_model,
    output:
        "{results}/{lang}/{variant}export/conversion/{converted}.json",
    log:
        "{results}/logs/{lang}/{variant}export/conversion/{converted}.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/conversion/{converted}.jsonl"
    wildcard_constraints:
        converted="gguf/f16|base/f16|adapter",
    # First: if it fails, all other work would be wasted.
    priority: 10
    localrule: True
    conda:
        "../envs/gguf.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=15,
        gpu=0,
        disk_mb=100,
    params:
        targets=exports.converted_targets,
    shell:
        r"""
        python {input.script:q} \
            --base-model={input.base_model:q} \
            {params.targets:q} \
            --output={output:q} 2>&1 | tee {log:q}
        """


rule convert_to_gguf:
    input:
        script=own("scripts/convert_to_gguf.py"),
        library=library("convert_to_gguf"),
        after=after_split,
        conversion="{results}/{lang}/{variant}export/conversion/{converted}.json",
        folder=exports.converted,
        base_model=exports.converted_over,
    output:
        "{results}/{lang}/{variant}export/{converted}.gguf",
    log:
        "{results}/logs/{lang}/{variant}export/{converted}.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/{converted}.jsonl"
    wildcard_constraints:
        converted="gguf/f16|base/f16|adapter",
    conda:
        "../envs/gguf.yaml"
    threads: 2
    resources:
        mem_mb=double_on_retry(16000),
        runtime=double_on_retry(60),
        gpu=0,
        gpu_model="",
        disk_mb=15000,
    params:
        name=exports.name,
        base_model=lambda wildcards, input: given("--base-model", input.base_model),
    shell:
        r"""
        python {input.script:q} \
            --folder={input.folder:q} \
            {params.base_model:q} \
            --name={params.name:q} \
            --output={output:q} 2>&1 | tee {log:q}
        """


rule quantize:
    input:
        script=own("scripts/quantize.py"),
        library=library("quantize"),
        after=after_split,
        shapes="{results}/{lang}/{variant}export/shapes/{quantization}.json",
        model="{results}/{lang}/{variant}export/{whole}/f16.gguf",
    output:
        "{results}/{lang}/{variant}export/{whole}/{quantization}.gguf",
    log:
        "{results}/logs/{lang}/{variant}export/{whole}/{quantization}.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/{whole}/{quantization}.jsonl"
    wildcard_constraints:
        # The merged model, or the base model that the adapter alone is laid over.
        whole="gguf|base",
        quantization="|".join(QUANTIZATIONS),
    conda:
        "../envs/llama_cpp.yaml"
    threads: 8
    resources:
        mem_mb=double_on_retry(8000),
        runtime=double_on_retry(60),
        gpu=0,
        gpu_model="",
        disk_mb=8000,
    shell:
        r"""
        python {input.script:q} \
            --model={input.model:q} \
            --quantization={wildcards.quantization:q} \
            --threads={threads} \
            --output={output:q} 2>&1 | tee {log:q}
        """


rule gguf_perplexity:
    input:
        script=own("scripts/gguf_perplexity.py"),
        library=library("gguf_perplexity"),
        after=after_split,
        model="{results}/{lang}/{variant}export/gguf/{quantization}.gguf",
        tokens=rules.perplexity.output.tokens,
    output:
        "{results}/{lang}/{variant}export/perplexity/{quantization}.json",
    log:
        "{results}/logs/{lang}/{variant}export/perplexity/{quantization}.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/perplexity/{quantization}.jsonl"
    wildcard_constraints:
        quantization="|".join(["f16", *QUANTIZATIONS]),
    conda:
        "../envs/llama_cpp.yaml"
    threads: 8
    resources:
        mem_mb=double_on_retry(16000),
        runtime=double_on_retry(240),
        gpu=0,
        gpu_model="",
        disk_mb=10,
    shell:
        r"""
        python {input.script:q} \
            --model={input.model:q} \
            --tokens={input.tokens:q} \
            --threads={threads} \
            --output={output:q} 2>&1 | tee {log:q}
        """


rule write_modelfile:
    input:
        script=own("scripts/write_modelfile.py"),
        library=library("write_modelfile"),
        after=after_split,
        adapter=exports.adapter,
        model=f"{{results}}/{{lang}}/{{variant}}export/gguf/{config['export']['gguf'][0]}.gguf",
    output:
        "{results}/{lang}/{variant}export/gguf/Modelfile",
    log:
        "{results}/logs/{lang}/{variant}export/gguf/Modelfile.log",
    benchmark:
        "{results}/benchmarks/{lang}/{variant}export/gguf/Modelfile.jsonl"
    localrule: True
    conda:
        "../envs/tuning.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=15,
        gpu=0,
        disk_mb=10,
    params:
        gguf=f"{config['export']['gguf'][0]}.gguf",
    shell:
        r"""
        python {input.script:q} \
            --adapter={input.adapter:q} \
            --gguf={params.gguf:q} \
            --output={output:q} 2>&1 | tee {log:q}
        """
