"""Targets of unknown languages or exports: they match only these rules, which report the error in one line."""


rule unknown_language:
    input:
        lambda wildcards: checked(find, wildcards.unknown, LANGUAGES),
    output:
        "{results}/{unknown}/{file}",
    wildcard_constraints:
        unknown=rf"(?!(?:source|models|pivot|memory|logs|benchmarks|{'|'.join(map(re.escape, LANGUAGES))})/)[^/]+",
        file="(?:dataset|threads|preferences|adapter|translated|evaluation|report|review|published|export).*",


rule unknown_export:
    input:
        exports.refuse,
    output:
        "{results}/{lang}/{variant}export{unknown}",
    wildcard_constraints:
        # Paths inside existing exports belong to those exports' rules.
        unknown=rf"(?!/(?:{PATHS})(?:/|$)).*",
