"""Targets of unknown languages or exports: they match only these rules, which report the error in one line."""

if not IS_MODULE and snakemake_internals.is_main_process(workflow):
    of_language = re.compile(rf"(?:.*/)?(?:{'|'.join(map(re.escape, LANGUAGES))})/(?:{KINDS})(?:[/.].*)?")
    checked(check_folder_of, snakemake_internals.targets(sys.argv, of_language), config["results"], LANGUAGES)


rule unknown_language:
    input:
        lambda wildcards: checked(find, wildcards.unknown, LANGUAGES),
    output:
        "{results}/{unknown}/{file}",
    wildcard_constraints:
        unknown=rf"(?!(?:source|models|pivot|memory|logs|benchmarks|{'|'.join(map(re.escape, LANGUAGES))})/)[^/]+",
        file=f"(?:{KINDS}).*",


rule unknown_export:
    input:
        exports.refuse,
    output:
        "{results}/{lang}/{variant}export{unknown}",
    wildcard_constraints:
        # Paths inside existing exports belong to those exports' rules.
        unknown=rf"(?!/(?:{PATHS})(?:/|$)).*",
